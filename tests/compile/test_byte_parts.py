"""Tests of stages with gated layers in int8: kernels compute these layers, programs compute the parts between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gatesearch.compile import passes
from gatesearch.compile.byte_parts import write_parts
from gatesearch.compile.stage import StageGraph
from gatesearch.compile.tflite import channel_last, convert
from gatesearch.devices.profile import load
from gatesearch.graph.sites import cut_sites, layer_sites
from gatesearch.kernels import native
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.runtime.byte_parts_program import BytePartsProgram, load_parts
from gatesearch.runtime.parts_program import PartsProgram

LIBRARY = native.load()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="no C compiler")

PG = {"bits": 8, "high_bits": 4, "mask": "3d"}
GATES: dict[str, dict[str, Any]] = {
    "fbs blocks": {"kind": "fbs", "density": 0.5, "block": 16},
    "fbs": {"kind": "fbs", "density": 0.7, "block": 1},
    "pg": {"kind": "pg", **PG},
    "pg of 4 bits": {"kind": "pg", "bits": 4, "high_bits": 2, "mask": "m1"},
    "fbs_pg": {"kind": "fbs_pg", "density": 0.7, "block": 1, **PG},
}


class Residual(nn.Module):
    """A network with a skip connection around two convolutions, and a pooling that C operators do not run."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 32, 3, padding=1), nn.ReLU())
        self.first = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())
        self.last = nn.Linear(32, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = self.second(self.first(x)) + x
        return self.last(x.mean((2, 3)))


def chain() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 48, 3, 2, padding=1), nn.BatchNorm2d(48), nn.ReLU(),
        nn.Conv2d(48, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.Dropout(0.2),
        nn.AvgPool2d(3), nn.Flatten(), nn.Linear(32, 5),
    )  # fmt: skip


def compiled(network: nn.Module, gates: Sequence[tuple[str, dict[str, Any]]]) -> tuple[StageGraph, torch.Tensor]:
    """Return the only stage of a network with gates, after a few steps of training, and other samples."""
    x = torch.rand(96, 2, 6, 6)
    placed = tuple(
        PlacedGate.of(params["kind"], site, **{k: v for k, v in params.items() if k != "kind"})
        for site, params in gates
    )
    layers = layer_sites(network, x[:1])
    model = GatedModel(network, GatePlan(placed, ("host",)), cut_sites(network, x[:1]), 5, layers=layers)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model.train()(x).logits, torch.arange(96) % 5).backward()
        optimizer.step()
    [stage] = passes.run(model.eval(), x, load("host"))
    return stage, torch.rand(32, 2, 6, 6)


def outputs(stage: StageGraph, windows: torch.Tensor) -> tuple[BytePartsProgram | PartsProgram, np.ndarray[Any, Any]]:
    assert LIBRARY is not None
    files, _ = write_parts(stage, convert)
    program = load_parts([file.entry for file in files], [file.blob for file in files], LIBRARY)
    assert isinstance(program, BytePartsProgram | PartsProgram)
    source, target = program.inputs[0], program.outputs[0]
    images = [source.quantise(channel_last(window[None].numpy())) for window in windows]
    return program, np.concatenate([target.dequantise(program(image)[0]) for image in images])


@settings(max_examples=8, deadline=None)
@given(st.lists(st.sampled_from(sorted(GATES)), min_size=2, max_size=2), st.integers(0, 10**6))
def test_a_stage_in_int8_computes_what_the_model_computes(names: list[str], seed: int) -> None:
    torch.manual_seed(seed)
    stage, windows = compiled(chain(), [(site, GATES[name]) for site, name in zip(("3", "6"), names, strict=True)])
    program, y = outputs(stage, windows)
    assert isinstance(program, BytePartsProgram) and program.in_one_call
    assert program.inputs[0].dtype == np.int8
    with torch.no_grad():
        expected = stage.program(windows).numpy()
    noise, signal = np.square(y - expected).mean(), np.var(expected)
    assert signal > 25 * noise  # 14 dB
    np.testing.assert_array_equal(y, outputs(stage, windows)[1])


def test_a_residual_stage_of_byte_parts_computes_what_its_program_computes() -> None:
    torch.manual_seed(0)
    stage, windows = compiled(Residual(), [("first.0", GATES["fbs blocks"]), ("second.0", GATES["fbs"])])
    program, y = outputs(stage, windows)
    assert isinstance(program, BytePartsProgram)
    with torch.no_grad():
        expected = stage.program(windows).numpy()
    assert np.var(expected) > 25 * np.square(y - expected).mean()


def test_a_layer_that_may_read_negative_values_leaves_the_stage_in_float() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 16, 3), nn.BatchNorm2d(16), nn.Conv2d(16, 16, 1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5)
    )
    stage, windows = compiled(network, [("2", GATES["fbs"])])
    files, reason = write_parts(stage, convert)
    assert reason == "inputs of 2 may be negative" and {file.entry["arithmetic"] for file in files} == {"float32"}
    program, y = outputs(stage, windows)
    assert isinstance(program, PartsProgram)
    with torch.no_grad():
        np.testing.assert_allclose(y, stage.program(windows).numpy(), rtol=1e-3, atol=1e-3)
