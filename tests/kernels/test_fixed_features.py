"""Features that the C kernel computes for many waves are those of the front end, bit for bit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.frontends import FIXED_POINT, FLOAT, MFCC, LogMel
from gatesearch.kernels import native
from gatesearch.kernels.fixed_features import fast_features
from gatesearch.training.stream_split import window_features

pytestmark = pytest.mark.skipif(native.load() is None, reason="needs a compiler")
RATE = 16000


def noise(seed: int, count: int, length: int = RATE) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    loudness = 10 ** (4 * torch.rand(count, 1, generator=generator))
    return (torch.randn(count, length, generator=generator) * loudness).clamp(-32768, 32767).to(torch.int16)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([LogMel, MFCC]), st.integers(0, 999), st.booleans())
def test_the_kernel_gives_the_features_of_the_front_end(kind: type[LogMel], seed: int, in_float: bool) -> None:
    front = kind(seconds=0.2).fit(noise(seed, 8, 3200))
    assert fast_features(front) is front  # in float
    assert front.use_fixed_point()
    waves = noise(seed + 1, 3, 3200)
    waves = waves.float() / 32768 if in_float else waves
    assert torch.equal(fast_features(front)(waves), front(waves))


def test_a_front_end_in_float_computes_as_before_it_used_fixed_point() -> None:
    front, waves = LogMel().fit(noise(1, 8)), noise(2, 4)
    before = front(waves)
    assert front.in_float() is front and front.use_fixed_point()
    assert front.arithmetic == FIXED_POINT and front.in_float().arithmetic == FLOAT
    assert torch.equal(front.in_float()(waves), before) and not torch.equal(front(waves), before)


@pytest.mark.parametrize("hop", [640, 500])  # frames are shared, or a hop is no whole number of frames
def test_windows_of_a_stream_have_the_features_of_the_front_end(hop: int) -> None:
    front = LogMel().fit(noise(3, 8))
    assert front.use_fixed_point()
    sound = noise(4, 1, 2 * RATE)[0]
    windows = window_features(sound, front, RATE, hop)
    for k in (0, 7, len(windows) - 1):
        assert torch.equal(windows[k], front(sound[None, k * hop :][:, :RATE])[0])
