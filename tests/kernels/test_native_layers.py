"""Tests of trained layers that C kernels run: rounding, normalisation, cleared blocks, sequences, sample inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gatesearch.gates import KernelCall, build_gate
from gatesearch.gates.factored import FactoredRNN
from gatesearch.graph.sites import layer_sites
from gatesearch.kernels import FBSPG, ActiveChannels, layer_kernel, native
from gatesearch.kernels.arrays import address
from gatesearch.kernels.fbs import FBSLayer
from gatesearch.kernels.fbs_pg import FBSPGLayer
from gatesearch.kernels.pg import PGLayer
from gatesearch.kernels.recurrent import RecurrentLayer
from gatesearch.plan import PlacedGate

LIBRARY = native.load()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="no C compiler")


@settings(max_examples=30)
@given(st.integers(1, 70), st.floats(0.01, 3.0), st.sampled_from([(1, 255.0), (2, 65535.0)]), st.integers(0, 99))
def test_levels_equal_those_of_numpy(count: int, step: float, form: tuple[int, float], seed: int) -> None:
    assert LIBRARY is not None
    size, top = form
    x = (np.random.default_rng(seed).standard_normal(count) * 300).astype(np.float32)
    x[: count // 2] = np.rint(x[: count // 2]) * np.float32(step) / 2  # ties
    levels = np.empty(count, {1: np.uint8, 2: np.uint16}[size])
    LIBRARY.function("levels_f32")(address(x), count, step, top, size, address(levels))
    np.testing.assert_array_equal(levels, np.rint((x / np.float32(step)).clip(0, top)))


def test_inactive_blocks_are_cleared_and_no_other() -> None:
    assert LIBRARY is not None
    y = np.ones((3, 40), np.float32)
    active = np.array([1], np.int32)
    LIBRARY.function("clear_f32")(address(y), 3, 40, address(active), 1)
    assert y[:, 16:32].all() and not y[:, :16].any() and not y[:, 32:].any()


@pytest.mark.parametrize("relu", [True, False])
def test_a_layer_with_precision_gating_includes_the_batch_normalisation_behind_it(relu: bool) -> None:
    assert LIBRARY is not None
    torch.manual_seed(0)
    net = nn.Sequential(nn.ReLU(), nn.Conv2d(5, 20, 3, padding=1), nn.BatchNorm2d(20), nn.ReLU())
    x = torch.rand(8, 5, 7, 6)
    [site] = layer_sites(net, x[:1])
    gate = PlacedGate.of("pg", site.name, bits=8, high_bits=4, weight_bits=7, mask="m2-8")
    net[1] = build_gate(site, gate, net[1])
    net.train()(x)
    net.eval()
    part = PGLayer.from_module(net[1], x[:1], net[2], relu)
    again = PGLayer.load(part.arrays(), LIBRARY)
    image = np.ascontiguousarray(x[0].permute(1, 2, 0).numpy())
    y = np.zeros(again.shape, np.float32)
    for call in again.bind(image, y):
        call()
    with torch.no_grad():
        expected = net[2](net[1](x[:1]))
        expected = (net[3](expected) if relu else expected)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    assert (expected < 0).any() != relu


@pytest.mark.parametrize("kind", ["hmd", "lmf", None])
@pytest.mark.parametrize(("cell", "both"), [(nn.LSTM, False), (nn.GRU, False), (nn.LSTM, True), (nn.GRU, True)])
def test_a_recurrent_layer_runs_all_steps_of_a_sequence(cell: type[nn.RNNBase], both: bool, kind: str | None) -> None:
    assert LIBRARY is not None
    torch.manual_seed(0)
    layer = cell(6, 18, num_layers=2, batch_first=True, bidirectional=both)
    [site] = layer_sites(Wrapped(layer), torch.zeros(1, 9, 6))
    gate: nn.Module = layer
    if kind is not None:
        gate = build_gate(site, PlacedGate.of(kind, site.name, factor=2.0), layer)
        assert isinstance(gate, FactoredRNN)
    part = RecurrentLayer.load(RecurrentLayer.from_module(gate, torch.zeros(1, 9, 6), None, False).arrays(), LIBRARY)
    x = torch.randn(1, 9, 6)
    y = np.zeros(part.shape, np.float32)
    calls = part.bind(x[0].numpy(), y)
    for _ in range(2):  # each run starts from a state of zero
        for call in calls:
            call()
    with torch.no_grad():
        np.testing.assert_allclose(y, gate.eval()(x)[0][0].numpy(), rtol=1e-4, atol=1e-5)


class Wrapped(nn.Module):
    """A network of one recurrent layer, which can be traced."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0]


GEOMETRY = (6, 6, 32, 64, 3, 3, 1, 1, 1, 1, 1, 1)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("group", [1, 16])
def test_sample_inputs_of_precision_gating_have_the_share_of_open_outputs(share: float, group: int) -> None:
    assert LIBRARY is not None
    call = KernelCall("pg", GEOMETRY, (("bytes", 1), ("group", group)), (("open", share),))
    part, x, _ = layer_kernel("pg").sample(call, LIBRARY, np.random.default_rng(0))
    assert isinstance(part, PGLayer)
    levels = np.rint((x / np.float32(part.conv.step)).clip(0, 255)).astype(np.uint8)
    phases, _ = part.conv.phases(levels)
    assert float(phases.mask.double().mean()) == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("block", "group", "pieces"), [(1, 1, 1), (1, 16, 2), (16, 16, 4)])
def test_sample_inputs_of_the_hybrid_kernel_have_the_share_of_open_outputs(
    share: float, block: int, group: int, pieces: int
) -> None:
    assert LIBRARY is not None
    variant = (("block", block), ("group", group), ("pieces", pieces))
    call = KernelCall("fbs_pg", GEOMETRY, variant, (("inputs", 1.0), ("outputs", 0.5), ("open", share)))
    part, x, active = layer_kernel("fbs_pg").sample(call, LIBRARY, np.random.default_rng(0))
    assert isinstance(part, FBSPGLayer) and isinstance(part.conv, FBSPG) and active is None
    assert part.conv.precision.operands.number == pieces
    _, winners = part.conv(x)
    won = ActiveChannels(winners, block).channels(64)
    mask = part.conv.phases(x, won).mask[..., won]
    assert len(won) == 32 and float(mask.double().mean()) == pytest.approx(share, abs=0.15)


def test_sample_inputs_of_feature_boosting_have_whole_blocks_and_run() -> None:
    assert LIBRARY is not None
    call = KernelCall("fbs", GEOMETRY)
    blocks, singles = layer_kernel("fbs"), layer_kernel("fbs_single")
    assert blocks.axes(call) == {"inputs": (0.5, 1.0), "outputs": (0.5, 1.0)}
    assert blocks.axes(call, reads_blocks=False)["inputs"] == (1.0,)
    part, _, active = blocks.sample(
        call._replace(remaining=(("inputs", 0.5), ("outputs", 0.25))), LIBRARY, np.random.default_rng(0)
    )
    assert isinstance(part, FBSLayer)
    assert part.active is not None and len(part.active.groups) == 1 and active is not None and len(active.groups) == 1
    single = KernelCall("fbs_single", GEOMETRY, (), (("inputs", 0.5), ("outputs", 0.25)))
    part, _, active = singles.sample(single, LIBRARY, np.random.default_rng(0))
    assert part.active is not None and len(part.active.groups) == 16 and active is not None and len(active.groups) == 16
    for kernel in ("lstm", "gru"):
        hybrid = KernelCall(kernel, (5, 6, 20), (("parts", 2),), (("rich", 0.3),))
        low = KernelCall(f"{kernel}_lmf", (5, 6, 20), (), (("kept", 0.5),))
        dense = KernelCall(kernel, (5, 6, 20), (("parts", 0),), (("rich", 1.0),))
        assert layer_kernel(kernel).axes(dense) == {"rich": (1.0,)}
        for run in (run for call in (hybrid, low, dense) for run in layer_kernel(call.kernel).calls(call, LIBRARY)):
            run()
