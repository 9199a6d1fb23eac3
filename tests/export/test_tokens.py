"""Tests of an exported keyword transformer: pruned token features, and number formats by core."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from gatesearch.backbones.kwt import KWT
from gatesearch.compile import passes
from gatesearch.devices import profile
from gatesearch.export import verify
from gatesearch.export.bundle import write_bundle
from gatesearch.export.thresholds import copy_with_thresholds, read_thresholds
from gatesearch.gates import GateContext
from gatesearch.graph.sites import cut_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from tests.export.small_model import CLASSES, POSITIVE, Exported, windows

PLAN = GatePlan(
    (
        PlacedGate.of("gc", "blocks.0", mode="channel", keep=0.5, recall=0.97),
        PlacedGate.of("gc", "blocks.1", mode="channel", keep=0.75, recall=0.97),
    ),
    ("npu", "app", "app"),
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    torch.manual_seed(3)
    backbone = KWT(len(CLASSES), width=16, blocks=3, heads=2, patch=7, dropout=0.0)
    train = windows(200, seed=1)
    model = GatedModel(backbone, PLAN, cut_sites(backbone, train.features[:1]), len(CLASSES))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(40):
        output = model.train()(train.features)
        loss = torch.nn.functional.cross_entropy(output.logits, train.labels)
        for k, gate in enumerate(output.gates):
            context = GateContext(POSITIVE[train.labels], 1.0, 0.0, 0.0, None, output.logits, torch.zeros_like)
            loss = loss + model.gate(k).loss(gate, context)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    calibration, validation, test = windows(64, seed=2), windows(120, seed=4), windows(120, seed=5)
    for k in range(2):
        model.gate(k).theta.fill_(-2.0)
    folder = tmp_path_factory.mktemp("tokens") / "bundle"
    device = profile.load("three_core")
    manifest = write_bundle(
        folder, model, device, calibration.features, validation, POSITIVE,
        formats=("tflite", "onnx"), classes=CLASSES, about={},
    )  # fmt: skip
    deployed = copy_with_thresholds(model, read_thresholds(manifest))
    return Exported(folder, deployed, manifest, passes.run(model, calibration.features, device), validation, test)


def test_the_manifest_names_the_number_format_of_each_stage(exported: Exported) -> None:
    assert [(s["core"], s["arithmetic"]) for s in exported.manifest["stages"]] == [
        ("npu", "int8"),
        ("app", "float32"),
        ("app", "float32"),
    ]
    assert exported.manifest["stages"][0]["outputs"]["passed"]["dtype"] == "int8"
    assert exported.manifest["stages"][1]["input"]["dtype"] == "float32"


def test_only_active_features_of_tokens_cross(exported: Exported) -> None:
    first, second, _ = exported.manifest["stages"]
    assert first["outputs"]["passed"]["shape"] == [1, 8, 8] and len(first["channels"]) == 8
    assert second["input"]["shape"] == [1, 8, 8]
    assert second["outputs"]["passed"]["shape"] == [1, 8, 12] and len(second["channels"]) == 12


def test_the_bundle_agrees_with_the_model(exported: Exported) -> None:
    parity = verify.verify(exported.model, exported.loaded, exported.test.features)
    assert parity.gate_agreement > 0.95 and parity.prediction_agreement > 0.95
    assert 0 < float((parity.exits < 2).double().mean()) < 1  # the gates stop some windows and pass others


def test_onnx_of_a_float_stage_is_the_lowered_stage(exported: Exported) -> None:
    stage, entry = exported.stages[2], exported.manifest["stages"][2]
    [path] = [Path(a["path"]) for a in entry["artifacts"] if a["format"] == "onnx"]
    session = onnxruntime.InferenceSession((exported.folder / path).read_bytes())
    inputs = stage.samples[:1]
    [logits] = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(logits, stage.program(inputs).numpy(), atol=1e-4)
