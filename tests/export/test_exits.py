"""Tests of an exported codec whose light path has a program (artifact) of its own.

The gate is a dynamic switch (``dsl``): it sends easy samples to a small decoder, which is the light path.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from gatesearch.backbones.codec import Codec
from gatesearch.devices import profile
from gatesearch.errors import UserError
from gatesearch.export.bundle import artifacts, write_bundle
from gatesearch.export.thresholds import copy_with_thresholds, read_thresholds
from gatesearch.export.verify import list_shortfalls, verify
from gatesearch.graph.sites import cut_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.runtime.bundle import Bundle
from gatesearch.training import FeatureSplit, calibrate, run_cascade
from tests.schema_checks import check_document

SHAPE = (1, 256, 1)
POSITIVE = torch.tensor([True, True])


def sounds(count: int, seed: int) -> FeatureSplit:
    """Return windows of slow waves; every other window also has noise, and the label 1."""
    generator = torch.Generator().manual_seed(seed)
    slow = torch.randn(count, 1, 8, generator=generator)
    waves = torch.nn.functional.interpolate(slow, 256, mode="linear")[:, 0]
    labels = torch.arange(count) % 2
    waves = waves + labels[:, None] * torch.randn(count, 256, generator=generator)
    return FeatureSplit(waves[:, None, :, None], labels, torch.zeros_like(labels))


class Exported(NamedTuple):
    folder: Path
    model: GatedModel
    test: FeatureSplit


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    torch.manual_seed(0)
    train, validation = sounds(96, 0), sounds(80, 1)
    backbone = Codec(SHAPE, width=8, strides=(4, 4), dimension=8, levels=2, codes=16)
    plan = GatePlan((PlacedGate.of("dsl", "quantiser", share=0.5, width=1.0, keep=0.5),), ("host", "host"))
    model = GatedModel(backbone, plan, cut_sites(backbone, train.features[:1]), SHAPE)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    quantiser = model.stages[0].get_submodule("quantiser")
    for _ in range(60):
        output = model.train()(train.features)
        ends = (output.logits, output.gates[0].exit)
        loss = sum((end - train.features).abs().mean() for end in ends) + quantiser.extra_loss()
        switch = torch.nn.functional.binary_cross_entropy_with_logits(output.gates[0].logit, train.labels.float())
        optimizer.zero_grad()
        (loss + switch).backward()
        optimizer.step()
    model.gates[0].q.zero_()  # the gate's own loss would set this value; the training above leaves that loss out
    model.eval()
    calibrate(model, validation, POSITIVE)
    folder = tmp_path_factory.mktemp("exits") / "bundle"
    manifest = write_bundle(
        folder, model, profile.load("host"), train.features, validation, POSITIVE,
        formats=("tflite",), classes=("slow", "noisy"), about={},
    )  # fmt: skip
    return Exported(folder, copy_with_thresholds(model, read_thresholds(manifest)), sounds(60, 2))


def test_the_exit_is_an_artifact_of_its_own(exported: Exported):
    manifest = json.loads((exported.folder / "manifest.json").read_text())
    first, last = manifest["stages"]
    names = [artifact["path"] for artifact in artifacts(manifest)]
    assert names == [
        "host/stage0.tflite",
        "host/stage0_exit.tflite",
        "host/stage1.tflite",
    ]
    assert all((exported.folder / name).stat().st_size > 0 for name in names)
    assert first["gate"]["exit"]["program"]["path"] == "host/stage0_exit.tflite" and last["gate"] is None
    assert set(last["outputs"]) == {"output"} and last["logit_offset"] == 0.0
    # On both paths, half of the channels are removed from the activations that cross.
    assert first["outputs"]["passed"]["shape"] == [1, 16, 1, 4] == last["input"]["shape"]
    assert first["gate"]["exit"]["input"]["shape"] == [1, 16, 1, 4]


def test_the_artifacts_agree_with_the_model(exported: Exported):
    loaded = Bundle(exported.folder)
    parity = verify(exported.model, loaded, exported.test.features)
    assert parity.gate_agreement >= 0.9 and parity.prediction_agreement is None and parity.labels is None
    assert parity.output_snr_db is not None and parity.output_snr_db > 12
    light_share = float((parity.exits == 0).double().mean())
    assert 0.3 < light_share < 0.9
    assert list_shortfalls(parity, 0.9, 1.0, 12.0) == ()
    [line] = list_shortfalls(parity, 0.9, 1.0, 99.0)
    assert re.search(r"verify.output_snr_db: over 60 test samples .* less than the recipe's 99 dB", line)


def test_each_window_runs_one_path(exported: Exported):
    loaded, cascade = Bundle(exported.folder), run_cascade(exported.model, exported.test.features)
    ran: list[str] = []
    for name, owner, place in (("light", loaded.exits, 0), ("heavy", loaded.programs, 1)):
        program = owner[place]

        class Counted:
            def __init__(self, program, name):
                self.program, self.name = program, name
                self.inputs, self.outputs = program.inputs, program.outputs

            def __call__(self, x):
                ran.append(self.name)
                return self.program(x)

        owner[place] = Counted(program, name)
    for window, expected in zip(exported.test.features[:20].numpy(), cascade.logits, strict=False):
        ran.clear()
        answer = loaded(window)
        assert ran == (["light"] if answer.exit == 0 else ["heavy"])
        assert answer.label is None and answer.logits is not None and answer.logits.shape == SHAPE
        assert np.isfinite(answer.logits).all() and expected.shape == SHAPE


def test_a_missing_exit_of_a_bundle_is_named(exported: Exported, tmp_path: Path):
    import shutil

    copied = tmp_path / "copied"
    shutil.copytree(exported.folder, copied)
    (copied / "host" / "stage0_exit.tflite").unlink()
    with pytest.raises(UserError, match=r"stage0_exit.tflite: No such file or directory; the bundle is incomplete"):
        Bundle(copied)


def test_manifest_fits_its_schema(exported: Exported) -> None:
    check_document("manifest", exported.folder / "manifest.json")
