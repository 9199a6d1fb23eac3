"""Tests that the kernel of feature boosting and suppression (FBS) equals its reference and the trained layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gatesearch.gates import build_gate
from gatesearch.gates.fbs import FBSConv2d
from gatesearch.graph.sites import LayerSite
from gatesearch.kernels import Boost, FBSConv, FBSConvU8, Geometry, Library
from gatesearch.plan import PlacedGate


def trained(c_in: int, c_out: int, density: float, seed: int, block: int = 16, norm: bool = True) -> FBSConv2d:
    """Return an FBS layer whose predictor has random weights and whose batch normalisation has random statistics."""
    torch.manual_seed(seed)
    conv, batch_norm = nn.Conv2d(c_in, c_out, 3, padding=1), nn.BatchNorm2d(c_out)
    (
        nn.init.normal_(batch_norm.weight),
        nn.init.normal_(batch_norm.running_mean),
        nn.init.uniform_(batch_norm.running_var, 0.5, 2),
    )
    site = LayerSite("0", "conv2d", (c_in, 6, 7), (c_out, 6, 7), c_in * c_out * 42 * 9, c_in * c_out * 9)
    placed = PlacedGate.of("fbs", "0", density=density, block=block)
    layer = build_gate(site, placed, conv, batch_norm if norm else None).eval()
    nn.init.normal_(layer.predictor.weight)
    return layer


@settings(max_examples=15)
@given(
    c_in=st.sampled_from([5, 16, 40]),
    c_out=st.sampled_from([16, 33, 96]),
    density=st.sampled_from([0.2, 0.5, 1.0]),
    norm=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_kernel_equals_the_training_module(
    library: Library, c_in: int, c_out: int, density: float, norm: bool, seed: int
) -> None:
    layer = trained(c_in, c_out, density, seed, norm=norm)
    x = torch.rand(6, 7, c_in)
    with torch.no_grad():
        expected = layer(x.movedim(-1, 0)[None])[0].movedim(0, -1).relu()
    y, _ = FBSConv.from_module(layer, (6, 7), library=library)(x.contiguous())
    torch.testing.assert_close(torch.from_numpy(y), expected, rtol=1e-5, atol=1e-5 * float(1 + expected.max()))


def test_a_chain_reads_only_computed_blocks(library: Library) -> None:
    first, second = trained(16, 64, 0.5, 0), trained(64, 48, 0.5, 1)
    x = torch.rand(6, 7, 16)
    with torch.no_grad():
        expected = nn.Sequential(first, nn.ReLU(), second, nn.ReLU())(x.movedim(-1, 0)[None])[0].movedim(0, -1)
    one, two = FBSConv.from_module(first, (6, 7), library=library), FBSConv.from_module(second, (6, 7), library=library)
    between, winners = np.full((6, 7, 64), np.nan, np.float32), np.zeros(2, np.int32)
    one.bind(x.numpy(), between, winners)()
    y, _ = two(between, winners)
    torch.testing.assert_close(torch.from_numpy(y), expected, rtol=1e-5, atol=1e-5 * float(1 + expected.max()))


def test_among_equal_blocks_the_first_win(library: Library) -> None:
    layer = trained(4, 64, 0.5, 0)
    nn.init.zeros_(layer.predictor.weight), nn.init.ones_(layer.predictor.bias)
    _, winners = FBSConv.from_module(layer, (6, 7), library=library)(np.ones((6, 7, 4), np.float32))
    assert winners.tolist() == [0, 1]


def test_the_kernel_equals_its_reference(library: Library) -> None:
    kernel = FBSConv.from_module(trained(20, 40, 0.6, 3), (6, 7), library=library)
    x = np.random.default_rng(0).random((6, 7, 20)).astype(np.float32)
    (y, winners), (expected, best) = kernel(x), kernel.reference(x)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    assert winners.tolist() == best.tolist()


@settings(max_examples=15)
@given(
    channels=st.sampled_from([(16, 64), (40, 33)]), count=st.integers(1, 3), some=st.booleans(), seed=st.integers(0, 99)
)
def test_int8_form_is_exact(library: Library, channels: tuple[int, int], count: int, some: bool, seed: int) -> None:
    c_in, c_out = channels
    rng = np.random.default_rng(seed)
    real = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    # All factors are whole numbers or powers of two. So the gain g is exact in any order of summation, and the bytes of
    # the output have to be equal.
    phi, rho = (rng.integers(-2, 3, shape).astype(np.float32) for shape in ((c_out, c_in), (c_out,)))
    boost = Boost(phi, rho + 4, real(c_out), real(c_out), real(c_out), count)
    geometry = Geometry((8, 4), c_in, c_out, (3, 3), padding=(1, 1))
    weight = rng.integers(-127, 128, geometry.weights).astype(np.int8)
    kernel = FBSConvU8(geometry, weight, boost, 2.0**-4, 2.0**-7, 2.0**2, library)
    x = rng.integers(0, 256, (8, 4, c_in)).astype(np.uint8)
    inputs = np.array([0], np.int32) if some else None
    (y, winners), (expected, best) = kernel(x, inputs), kernel.reference(x, inputs)
    assert winners.tolist() == best.tolist()
    np.testing.assert_array_equal(y, expected)
    assert len(np.unique(y)) > 2 or count < 3


def test_single_channels_cannot_be_skipped(compiled: Library) -> None:
    with pytest.raises(ValueError, match="blocks of 16 channels, the layer blocks of 1"):
        FBSConv.from_module(trained(4, 8, 0.5, 0, block=1), (6, 7))
