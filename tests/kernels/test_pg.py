"""Tests that the kernels of precision gating equal their integer reference and the trained layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gatesearch.gates.pg import PGConv2d, PGParams
from gatesearch.gates.pg.arithmetic import MASKS
from gatesearch.kernels import Geometry, Library, PGConv

SPLITS = [(16, 8), (8, 4), (8, 2), (6, 3), (12, 5)]


def kernel(
    geometry: Geometry,
    library: Library,
    mask: str,
    split: tuple[int, int] = (16, 8),
    quantile: float | None = 0.6,
    seed: int = 0,
    singly: bool = True,
) -> tuple[PGConv, np.ndarray]:
    """Return a kernel of precision gating and an input for it.

    A group of channels opens at a pixel if the mean of its outputs, computed from the high bits alone, exceeds the
    group's threshold. The threshold is the quantile ``quantile`` of these means over all pixels, so it closes about
    this share of the outputs. None opens all outputs, 1 closes all.
    """
    rng = np.random.default_rng(seed)
    bits, low_bits = split
    weight = rng.integers(-127, 128, geometry.weights).astype(np.int8)
    x = rng.integers(0, 2**bits, (*geometry.image, geometry.c_in))
    x = np.where(rng.random(x.shape) < 0.1, 2**bits - 1, x).astype(np.uint8 if bits <= 8 else np.uint16)
    size = MASKS[mask].size(geometry.c_out)
    groups = MASKS[mask].groups(geometry.c_out)
    middle = np.zeros(groups, np.float32)
    result = PGConv(geometry, weight, bits, low_bits, size, middle, library=library).reference(x).high
    padded = torch.nn.functional.pad(result.double(), (0, -geometry.c_out % size), value=float("nan"))
    means = padded.unflatten(-1, (-1, size)).nanmean(-1).reshape(-1, groups)
    delta = -1e30 if quantile is None else means.quantile(quantile, 0) if quantile < 1 else 1e30
    threshold = torch.as_tensor(delta).float().expand(groups).contiguous()
    bias = rng.standard_normal(geometry.c_out).astype(np.float32)
    level = float(np.float32(1e-4))
    return PGConv(
        geometry, weight, bits, low_bits, size, threshold * level, level, bias, singly=singly, library=library
    ), x


@settings(max_examples=25)
@given(
    channels=st.tuples(st.sampled_from([1, 5, 16, 33]), st.sampled_from([1, 7, 16, 17, 40, 64])),
    image=st.tuples(st.integers(3, 8), st.integers(3, 8)),
    window=st.sampled_from([(1, 1, 0, 1), (3, 1, 1, 1), (3, 2, 1, 1), (2, 1, 0, 2), (3, 1, 2, 2)]),
    mask=st.sampled_from(list(MASKS)),
    split=st.sampled_from(SPLITS),
    quantile=st.sampled_from([None, 0.0, 0.3, 0.7, 0.95, 1.0]),
    singly=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_kernel_equals_the_integer_reference_bit_for_bit(
    library: Library,
    channels: tuple[int, int],
    image: tuple[int, int],
    window: tuple[int, int, int, int],
    mask: str,
    split: tuple[int, int],
    quantile: float | None,
    singly: bool,
    seed: int,
) -> None:
    size, stride, padding, dilation = window
    pairs = [(value, value) for value in (size, stride, padding, dilation)]
    conv, x = kernel(Geometry(image, *channels, *pairs), library, mask, split, quantile, seed, singly)
    (high, opened, output), count = conv.phases(x)
    expected = conv.reference(x)
    assert torch.equal(high, expected.high)
    assert torch.equal(opened, expected.mask)
    assert torch.equal(output, expected.output)
    assert count == expected.mask.sum()
    exact = expected.output.numpy() * conv.level + conv.bias[: conv.geometry.c_out]
    np.testing.assert_allclose(conv(x), exact, rtol=1e-5, atol=1e-5 * np.abs(exact).max())


@pytest.mark.parametrize("mask", MASKS)
def test_a_mask_opens_none_some_or_all_outputs(library: Library, mask: str) -> None:
    geometry = Geometry((6, 5), 20, 40, (3, 3), padding=(1, 1))
    outputs = 6 * 5 * 40
    everything, x = kernel(geometry, library, mask, quantile=None)
    assert everything.phases(x)[1] == outputs
    nothing, x = kernel(geometry, library, mask, quantile=1)
    assert nothing.phases(x)[1] == 0
    some, x = kernel(geometry, library, mask, quantile=0.5)
    assert 0 < some.phases(x)[1] < outputs


def test_the_dense_kernel_equals_the_gated_one_with_all_outputs_open(library: Library) -> None:
    conv, x = kernel(Geometry((7, 5), 24, 40, (3, 3), padding=(1, 1)), library, "m2-16", quantile=None)
    y = np.empty((7, 5, 40), np.float32)
    conv.bind(x, y, dense=True)()
    np.testing.assert_array_equal(y, conv(x))


@pytest.mark.parametrize("mask", MASKS)
def test_the_kernel_equals_the_training_module(library: Library, mask: str) -> None:
    torch.manual_seed(0)
    layer = PGConv2d(nn.Conv2d(12, 40, 3, padding=1), PGParams(8, 4, mask, weight_bits=7)).eval()
    nn.init.normal_(layer.threshold, std=0.1)
    x = torch.rand(6, 7, 12)
    layer.range.seen.fill_(float(x.max()))
    with torch.no_grad():
        expected = layer(x.movedim(-1, 0)[None])[0].movedim(0, -1).contiguous()
    conv = PGConv.from_module(layer, (6, 7), library=library)
    torch.testing.assert_close(conv(conv.levels(x)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bits": 9, "low_bits": 0}, "wanted: 0 to 8 low bits and 1 to 8 high bits"),
        ({"bits": 16, "low_bits": 4}, "wanted: 0 to 8 low bits and 1 to 8 high bits"),
        ({"group": 5}, "no kernel for groups of 5 among 16 channels"),
    ],
)
def test_settings_without_a_kernel_are_refused(compiled: Library, change: dict[str, int], message: str) -> None:
    geometry = Geometry((4, 4), 4, 16)
    arguments = {"bits": 8, "low_bits": 4, "group": 16} | change
    with pytest.raises(ValueError, match=message):
        PGConv(geometry, np.zeros(geometry.weights, np.int8), threshold=np.zeros(1, np.float32), **arguments)


def test_weights_of_nine_magnitude_bits_are_refused(compiled: Library) -> None:
    with pytest.raises(ValueError, match=r"weight_bits: 9 has no kernel; nearest: 8"):
        PGConv.from_module(PGConv2d(nn.Conv2d(4, 16, 1), PGParams(weight_bits=9)), (4, 4))


def test_sums_that_could_overflow_are_refused(compiled: Library) -> None:
    geometry = Geometry((1, 1), 5000, 16)
    with pytest.raises(ValueError, match="do not fit 32 bits"):
        PGConv(geometry, np.full(geometry.weights, 127, np.int8), 16, 8, 16, np.zeros(1, np.float32))
