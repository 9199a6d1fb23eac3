"""Fixtures of the export tests: one bundle for all tests, because each conversion takes a second."""

from __future__ import annotations

import pytest

from gatesearch.compile import passes
from gatesearch.devices import profile
from gatesearch.export.bundle import write_bundle
from gatesearch.export.thresholds import copy_with_thresholds, read_thresholds
from gatesearch.runtime.bundle import Bundle
from tests.export.small_model import CLASSES, PLAN, POSITIVE, Exported, gated, windows


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The exported model, its bundle, and windows to test it."""
    model, folder = gated(PLAN), tmp_path_factory.mktemp("export") / "bundle"
    calibration, validation = windows(96, seed=1).features, windows(200, seed=2)
    device = profile.load("three_core")
    manifest = write_bundle(
        folder,
        model,
        device,
        calibration,
        validation,
        POSITIVE,
        formats=["tflite", "onnx"],
        classes=CLASSES,
        about={"recipe": "kws", "synthetic_data": True, "frontend": {"name": "mfcc"}},
    )
    deployed = copy_with_thresholds(model, read_thresholds(manifest))
    return Exported(
        folder, deployed, manifest, passes.run(model, calibration, device), validation, windows(240, seed=3)
    )


@pytest.fixture(scope="session")
def bundle_run(exported: Exported) -> Bundle:
    return exported.loaded
