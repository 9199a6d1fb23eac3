"""Tests of a bundle's programs by hops: their files, and the warning if a stage has none.

A program by hops computes only the new frames of a window at each decision.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from gatesearch._lib import console
from gatesearch.backbones.ds_cnn import DSCNN
from gatesearch.devices import profile
from gatesearch.export.bundle import artifacts, write_bundle
from gatesearch.export.hop_stages import HopSetting
from gatesearch.graph.hops import Frames
from gatesearch.graph.sites import cut_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan
from tests.export.hop_model import BEHIND_THE_POOLING, FRAMES, SHAPE, export_by_hops
from tests.export.small_model import CLASSES, POSITIVE, windows


def test_every_program_by_hops_is_a_file_with_its_digest(tmp_path: Path) -> None:
    bundle = export_by_hops(tmp_path / "bundle", BEHIND_THE_POOLING)
    named = {entry["path"]: entry for entry in artifacts(bundle.manifest)}
    assert {"mcu/stage0_step.tflite", "mcu/stage0_catch_up.tflite"} <= named.keys()
    files = {str(path.relative_to(bundle.folder)) for path in bundle.folder.rglob("*.tflite")}
    assert files == named.keys()
    for path, entry in named.items():
        assert hashlib.sha256((bundle.folder / path).read_bytes()).hexdigest() == entry["sha256"]


def test_a_layer_that_cannot_run_by_hops_keeps_whole_windows_with_a_line(tmp_path: Path) -> None:
    backbone = DSCNN(len(CLASSES), SHAPE, width=8, blocks=1).eval()  # pads in time
    split = windows(80, seed=1)
    model = GatedModel(backbone, GatePlan((), ("mcu",)), cut_sites(backbone, torch.zeros(1, *SHAPE)), len(CLASSES))
    with console.collect_warnings() as warnings:
        manifest = write_bundle(
            tmp_path / "bundle",
            model.eval(),
            profile.load("three_core"),
            split.features,
            split,
            POSITIVE,
            formats=("tflite",),
            classes=CLASSES,
            about={},
            hops=HopSetting(Frames(axis=2, count=FRAMES, hop=2)),
        )
    assert manifest["hops"] is None and manifest["stages"][0]["hops"] is None
    [line] = warnings
    assert line.startswith("export: stage 0 has no programs by hops: ") and "pads in time" in line
    assert line.endswith("the bundle runs whole windows") and "\n" not in line
