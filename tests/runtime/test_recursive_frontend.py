"""Tests that a recursive front end gives a listener the frames of the whole stream, however it is cut into blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.frontends import Micro
from gatesearch.frontends.grid import FEATURE_SCALE
from gatesearch.frontends.stream import FrontendStream
from gatesearch.runtime.recursive_frontend import RecursiveFrontend
from gatesearch.runtime.tensor_spec import TensorSpec

WINDOW, HOP = 3200, 640


@settings(max_examples=15, deadline=None)
@given(st.booleans(), st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(0, 99))
def test_windows_of_blocks_are_those_of_the_whole_stream(by_hops, blocks, seed):
    samples = (3000 * np.random.default_rng(seed).standard_normal(WINDOW + HOP * (sum(blocks) - 1))).astype(np.int16)
    micro = Micro(seconds=0.2)
    whole = (micro(torch.from_numpy(samples)[None])[0, 0].numpy() / FEATURE_SCALE).astype(np.int8)
    spec = TensorSpec("x", (1, 18, 40, 1), np.dtype(np.int8), FEATURE_SCALE, 0)
    listener = RecursiveFrontend(FrontendStream(micro), spec, HOP, 1, (18, 4), by_hops)
    hop = 0
    for count in blocks:
        windows = listener.read(samples[hop * HOP : (hop + count - 1) * HOP + WINDOW], hop, count)
        for k in range(count):
            window = windows.window(k)
            frames = window[:, 0, :, 0] if by_hops else window[0, 0, :, :, 0]
            assert np.array_equal(frames, whole[4 * (hop + k) : 4 * (hop + k) + 18])
        hop += count


def test_a_hop_that_is_left_out_is_refused():
    spec = TensorSpec("x", (1, 18, 40, 1), np.dtype(np.int8), FEATURE_SCALE, 0)
    listener = RecursiveFrontend(FrontendStream(Micro(seconds=0.2)), spec, HOP, 1, (18, 4), by_hops=True)
    with pytest.raises(AssertionError):
        listener.read(np.zeros(WINDOW, np.int16), 1, 1)
