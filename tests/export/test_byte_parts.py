"""Tests of bundles with gated layers in int8: kernels compute these layers, programs compute the parts between them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from gatesearch.compile.flatbuffer import read
from gatesearch.devices import profile
from gatesearch.errors import UserError
from gatesearch.export.bundle import write_bundle
from gatesearch.export.shortcomings import shortcomings
from gatesearch.export.verify import Parity, list_shortfalls, verify
from gatesearch.graph.sites import cut_sites, layer_sites
from gatesearch.kernels import native
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.byte_parts_program import BytePartsProgram
from gatesearch.runtime.program import Program
from gatesearch.training import FeatureSplit

pytestmark = pytest.mark.skipif(native.load() is None, reason="no C compiler")
CLASSES = ("a", "b", "c")
GATES = (
    PlacedGate.of("fbs", "3", density=0.7, block=16),
    PlacedGate.of("fbs_pg", "6", density=0.7, block=1, bits=8, high_bits=4, mask="m2-16"),
    PlacedGate.of("pg", "9", bits=8, high_bits=4, mask="3d"),
)


class Exported(NamedTuple):
    folder: Path
    manifest: dict[str, Any]
    parity: Parity


def images(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images of three kinds of stripes under noise, and their kinds."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.arange(count) % 3
    stripes = torch.stack([torch.arange(8).remainder(k + 2) == 0 for k in range(3)])[kinds].float()
    return stripes[:, None, None] + 0.3 * torch.rand(count, 1, 8, 8, generator=generator), kinds


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU(),
        nn.AvgPool2d(4), nn.Flatten(), nn.Linear(24, 3),
    )  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    backbone, (x, kinds) = network(), images(90, 1)
    model = GatedModel(
        backbone, GatePlan(GATES, ("host",)), cut_sites(backbone, x[:1]), 3, layers=layer_sites(backbone, x[:1])
    )
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(25):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model.train()(x).logits, kinds).backward()
        optimizer.step()
    folder, split = tmp_path_factory.mktemp("bytes") / "bundle", FeatureSplit(*images(60, 2), images(60, 2)[1])
    manifest = write_bundle(
        folder, model.eval(), profile.load("host"), x[:64], split, torch.ones(3, dtype=torch.bool),
        formats=["tflite"], classes=CLASSES, about={},
    )  # fmt: skip
    return Exported(folder, manifest, verify(model, Bundle(folder), images(90, 3)[0]))


def test_the_bundle_answers_as_the_model_and_every_file_runs(exported: Exported) -> None:
    assert exported.parity.prediction_agreement is not None and exported.parity.prediction_agreement >= 0.97
    assert len(np.unique(np.array(exported.parity.labels))) == 3
    assert {check.check for check in exported.parity.artifacts} == {"run"}
    assert list_shortfalls(exported.parity, gate_agreement=0.9, prediction_agreement=0.9) == ()


def test_all_parts_are_in_int8_and_no_line_names_a_part_in_float(exported: Exported) -> None:
    [stage] = exported.manifest["stages"]
    assert [part["kernel"] for part in stage["parts"]] == [None, "fbs", "fbs_pg", "pg", None]
    assert {part["arithmetic"] for part in stage["parts"]} == {"int8"} and stage["parts_in_float"] == ""
    for part in (stage["parts"][0], stage["parts"][-1]):
        blob = (exported.folder / part["program"]["path"]).read_bytes()
        graph = read(blob).subgraphs[0]
        assert {graph.tensors[index].type for index in (*graph.inputs, *graph.outputs)} == {9}  # int8
    assert not any("float32" in line for line in shortcomings(exported.manifest, ["tflite"], 10**9))
    [program] = Bundle(exported.folder).programs
    assert isinstance(program, BytePartsProgram) and program.in_one_call


def test_a_stage_runs_again_and_again_with_the_same_answer(exported: Exported) -> None:
    loaded, windows = Bundle(exported.folder), images(6, 4)[0].numpy()
    first = [loaded(window).logits for window in windows]
    for window, before in zip(windows[::-1], first[::-1], strict=True):
        np.testing.assert_array_equal(loaded(window).logits, before)


def test_without_a_compiler_the_float_program_runs(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [Bundle(exported.folder)(window).label for window in images(12, 5)[0].numpy()]
    monkeypatch.setattr(native, "load", lambda: None)
    bundle = Bundle(exported.folder)
    assert isinstance(bundle.programs[0], Program)
    assert [bundle(window).label for window in images(12, 5)[0].numpy()] == labels


def test_the_input_is_checked_and_a_part_that_lacks_an_array_is_refused(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="input must be int8"):
        Bundle(exported.folder).run(np.zeros((1, 8, 8, 1), np.float32))
    copy = tmp_path / "copy"
    shutil.copytree(exported.folder, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    part = manifest["stages"][0]["parts"][1]["program"]
    with np.load(copy / part["path"]) as arrays:
        remaining_arrays = {name: arrays[name] for name in arrays.files if name != "level_in"}
    np.savez(copy / part["path"], **remaining_arrays)
    blob = (copy / part["path"]).read_bytes()
    part |= {"sha256": hashlib.sha256(blob).hexdigest(), "bytes": len(blob)}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="parts of the stage on host do not fit each other"):
        Bundle(copy)
