"""Tests of the small kernels: gate heads, pooling and sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from gatesearch.kernels import GateHead, Geometry, Library, add_u8, pool_windows

shapes = st.tuples(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 7, 16, 31, 48]))


@settings(max_examples=30)
@given(shape=shapes, with_maximum=st.booleans(), seed=st.integers(0, 99))
def test_the_gate_head_equals_pooling_and_a_linear_layer(
    library: Library, shape: tuple[int, int, int], with_maximum: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x, mean, largest = (rng.standard_normal(s).astype(np.float32) for s in (shape, shape[2], shape[2]))
    head = GateHead(mean, largest if with_maximum else None, 0.25, library)
    np.testing.assert_allclose(head(x), head.reference(x), rtol=1e-5, atol=1e-5)


@settings(max_examples=30)
@given(
    image=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    channels=st.sampled_from([1, 7, 16, 31, 48]),
    window=st.sampled_from([(2, 2, 0), (3, 1, 1), (3, 2, 1), (3, 3, 0), (1, 1, 0)]),
    takes_maximum=st.booleans(),
    seed=st.integers(0, 99),
)
def test_pooling_equals_that_of_torch(
    library: Library,
    image: tuple[int, int],
    channels: int,
    window: tuple[int, int, int],
    takes_maximum: bool,
    seed: int,
) -> None:
    size, stride, padding = window
    geometry = Geometry(image, channels, channels, (size, size), (stride, stride), (padding, padding))
    x = np.random.default_rng(seed).integers(0, 256, (*image, channels), dtype=np.uint8)
    map_ = torch.from_numpy(x).movedim(-1, 0)[None].double()
    if takes_maximum:
        expected = F.max_pool2d(map_, size, stride, padding)
    else:
        expected = (F.avg_pool2d(map_, size, stride, padding, count_include_pad=False) + 0.5 + 1e-9).floor()
    result = pool_windows(x, geometry, takes_maximum, library)
    np.testing.assert_array_equal(result, expected[0].movedim(0, -1).numpy())


def test_a_pool_beyond_the_border_is_refused(compiled: Library) -> None:
    with pytest.raises(ValueError, match="outside"):
        pool_windows(np.zeros((4, 4, 1), np.uint8), Geometry((4, 4), 1, 1, (2, 2), padding=(2, 2)))


@settings(max_examples=30)
@given(n=st.integers(1, 70), scale=st.floats(0.01, 2.0), shift=st.floats(-100, 100), seed=st.integers(0, 99))
def test_sums_equal_those_of_numpy(library: Library, n: int, scale: float, shift: float, seed: int) -> None:
    x, z = np.random.default_rng(seed).integers(0, 256, (2, n), dtype=np.uint8)
    a, b, c = np.float32(scale), np.float32(1.5 * scale), np.float32(shift)
    expected = np.rint((x.astype(np.float32) * a + z.astype(np.float32) * b + c).clip(0, 255))
    np.testing.assert_array_equal(add_u8(x, z, (float(a), float(b)), float(c), library), expected)
