"""Tests of the convolution kernels: float32 against PyTorch, int8 against exact sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from gatesearch.kernels import Conv, ConvU8, Geometry, Library

few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    padding = (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    spans = [d * (k - 1) + 1 - 2 * p for k, d, p in zip(kernel, dilation, padding, strict=True)]
    image = tuple(draw(st.integers(max(1, span), max(1, span) + 7)) for span in spans)
    channels = st.sampled_from([1, 3, 4, 16, 17, 31, 48, 70])
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 2)))
    return Geometry(image, draw(channels), draw(channels), kernel, stride, padding, dilation)  # type: ignore[arg-type]


def unaligned(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a copy of an array that begins one element after a cache line."""
    size = array.dtype.itemsize
    raw = np.zeros(array.nbytes + 64 + size, np.uint8)
    first = -raw.ctypes.data % 64 + size
    copy = raw[first : first + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def lists(channels: int) -> st.SearchStrategy[list[int] | None]:
    """Return a strategy for active blocks: None for all, or the sorted indices of some or of no blocks."""
    return st.one_of(st.none(), st.sets(st.integers(0, -(-channels // 16) - 1)).map(sorted))


def array(live: list[int] | None) -> np.ndarray[Any, Any] | None:
    return None if live is None else np.array(live, np.int32)


def close(ours: Any, reference: Any) -> None:
    """Check that two arrays agree to 1e-5 of the largest value."""
    np.testing.assert_allclose(ours, reference, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(reference).max(initial=0)))


@few
@given(data=st.data(), geometry=geometries(), relu=st.booleans(), seed=st.integers(0, 99))
def test_float_convolution_equals_that_of_torch(
    library: Library, data: st.DataObject, geometry: Geometry, relu: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    real = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    conv = Conv(
        geometry, real(*geometry.weights), real(geometry.c_out), real(geometry.c_out), relu=relu, library=library
    )
    x = unaligned(real(*geometry.image, geometry.c_in))
    inputs, outputs = data.draw(lists(geometry.c_in)), data.draw(lists(geometry.c_out))
    close(conv(x, inputs, outputs), conv.reference(x, array(inputs), array(outputs)))


@few
@given(
    data=st.data(),
    geometry=geometries(),
    kind=st.sampled_from(["sums", "bytes", "floats"]),
    zero=st.sampled_from([0, 1, 128, 255]),
    seed=st.integers(0, 99),
)
def test_int8_convolution_is_exact(
    library: Library, data: st.DataObject, geometry: Geometry, kind: str, zero: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    conv = ConvU8(
        geometry,
        rng.integers(-128, 128, geometry.weights).astype(np.int8),
        kind,
        zero,
        bias=rng.integers(-5000, 5000, geometry.c_out).astype(np.int32),
        scale=(rng.random(geometry.c_out) * 0.02).astype(np.float32),
        shift=rng.standard_normal(geometry.c_out).astype(np.float32),
        zero_out=zero // 2,
        library=library,
    )
    # Extreme values come often, because a kernel that sums in 16 bits would saturate at them.
    x = unaligned(rng.choice([0, 1, 254, 255, *range(256)], (*geometry.image, geometry.c_in)).astype(np.uint8))
    inputs, outputs = data.draw(lists(geometry.c_in)), data.draw(lists(geometry.c_out))
    np.testing.assert_array_equal(conv(x, inputs, outputs), conv.reference(x, array(inputs), array(outputs)))


@pytest.mark.parametrize("weight", [-128, 127])
def test_largest_sums_do_not_saturate(library: Library, weight: int) -> None:
    geometry = Geometry((3, 3), 64, 16, (3, 3))
    conv = ConvU8(geometry, np.full(geometry.weights, weight, np.int8), library=library)
    assert (conv(np.full((3, 3, 64), 255, np.uint8)) == 255 * weight * 576).all()


def test_inactive_blocks_are_neither_read_nor_written(library: Library) -> None:
    geometry = Geometry((5, 5), 48, 64, (3, 3), padding=(1, 1))
    conv = Conv(geometry, np.ones(geometry.weights, np.float32), library=library)
    x, y = np.ones((5, 5, 48), np.float32), np.full((5, 5, 64), 7, np.float32)
    x[..., 16:32] = np.nan
    conv.bind(x, y, [0, 2], [1, 3])()
    assert (y[..., :16] == 7).all() and (y[..., 32:48] == 7).all()
    assert (y[2, 2, 16:32] == 32 * 9).all() and (y[2, 2, 48:] == 32 * 9).all()


def test_without_active_inputs_the_output_is_the_shift(library: Library) -> None:
    geometry = Geometry((4, 4), 32, 8)
    conv = Conv(geometry, np.ones(geometry.weights, np.float32), shift=np.arange(8, dtype=np.float32), library=library)
    assert (conv(np.ones((4, 4, 32), np.float32), inputs=[]) == np.arange(8)).all()


def test_tensors_in_give_tensors_out(compiled: Library) -> None:
    layer = nn.Conv2d(20, 24, 3, stride=2, padding=1, bias=False)
    conv = Conv(Geometry.from_layer(layer, (9, 7)), layer.weight)
    x = torch.randn(9, 7, 20)
    with torch.no_grad():
        expected = layer(x.movedim(-1, 0)[None])[0].movedim(0, -1)
    y = conv(x)
    assert isinstance(y, torch.Tensor)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((4, 4, 8)), "x is float64, not float32"),
        (np.zeros((4, 8), np.float32), r"x has shape \[4, 8\], not \[4, 4, 8\]"),
        (np.zeros((8, 4, 4), np.float32).T, "x is not contiguous"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(compiled: Library, x: Any, message: str) -> None:
    conv = Conv(Geometry((4, 4), 8, 8), np.zeros((8, 8, 1, 1), np.float32))
    with pytest.raises(ValueError, match=message):
        conv(x)


@pytest.mark.parametrize("wrong", [[1, 0], [0, 0], [1], [-1]])
def test_blocks_out_of_order_or_range_are_refused(compiled: Library, wrong: list[int]) -> None:
    conv = Conv(Geometry((4, 4), 8, 8), np.zeros((8, 8, 1, 1), np.float32))
    with pytest.raises(ValueError, match="ascending"):
        conv(np.zeros((4, 4, 8), np.float32), outputs=wrong)


def test_a_geometry_without_outputs_is_refused() -> None:
    with pytest.raises(ValueError, match="the output is empty"):
        Geometry((2, 2), 1, 1, (3, 3))
    with pytest.raises(ValueError, match="no kernel"):
        Geometry.from_layer(nn.Conv2d(4, 4, 3, groups=2), (8, 8))
