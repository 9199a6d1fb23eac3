"""Tests that front ends compute the same features hop by hop as for whole windows, bit for bit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.errors import UserError
from gatesearch.frontends import MFCC, Frontend, Identity, LogMel, Waveform, restore
from gatesearch.frontends.sequence import SensorSequence
from gatesearch.graph.hops import HopNetwork

RATE = 4000
FRAMES = st.fixed_dictionaries(
    {
        "window_ms": st.sampled_from([20.0, 25.0, 30.0, 32.0]),
        "stride_ms": st.sampled_from([10.0, 15.0, 20.0, 40.0]),
        "fft": st.just(128),
        "mel_bins": st.integers(5, 40),
        "high_hz": st.just(2000.0),
        "seconds": st.sampled_from([0.2, 0.51, 1.0]),
    }
)


def sound(samples: int, seed: int, count: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-20000, 20000, (count, samples), generator=generator, dtype=torch.int16)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([LogMel, MFCC]), FRAMES, st.integers(1, 30), st.integers(0, 99), st.integers(1, 3))
def test_frames_of_a_hop_are_those_of_the_whole_window_bit_for_bit(kind, arguments, frames_a_hop, seed, count):
    arguments = arguments | ({"coefficients": 5} if kind is MFCC else {})
    frontend: Frontend = kind(sample_rate=RATE, **arguments)
    samples = frontend.input_shape[0]
    frontend.fit(sound(samples, seed, count=8))
    hop = frames_a_hop * frontend.stride
    frames = frontend.hop_frames(hop)
    stream = sound(samples + 4 * hop, seed + 1, count)
    state = frontend.hop_state(stream[:, :samples])
    for k in range(1, 5):
        new = stream[:, samples + (k - 1) * hop : samples + k * hop]
        features, state = frontend.step(new, state)
        whole = frontend(stream[:, k * hop : k * hop + samples])
        assert torch.equal(features, whole[:, :, frames.first_fresh :])
        assert frontend.hop_macs(hop) * frames.count == frontend.macs() * frames.fresh


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 7), st.booleans(), st.integers(1, 12), st.integers(0, 40), st.integers(0, 99), st.integers(1, 3))
def test_frames_of_motion_are_those_of_the_whole_window_bit_for_bit(average, channel, frames_a_hop, more, seed, count):
    steps, hop = average + more, frames_a_hop * average
    generator = torch.Generator().manual_seed(seed)
    stream = 9 * torch.randn(count, steps + 4 * hop, 6, generator=generator)
    frontend = SensorSequence(average, channel).fit(stream[:, :steps])
    frames = frontend.hop_frames(hop)
    assert frontend.output_shape[frames.axis - 1] == frames.count
    state = frontend.hop_state(stream[:, :steps])
    for k in range(1, 5):
        features, state = frontend.step(stream[:, steps + (k - 1) * hop : steps + k * hop], state)
        whole = frontend(stream[:, k * hop : k * hop + steps])
        assert torch.equal(features, whole.narrow(frames.axis, frames.first_fresh, frames.fresh))
        assert frontend.hop_macs(hop) * frames.count == frontend.macs() * frames.fresh
    restored = restore(frontend.describe())
    assert torch.equal(restored(stream[:, :steps]), frontend(stream[:, :steps]))
    if average > 1:
        with pytest.raises(UserError, match=f"a frame begins every {average} samples; nearest choice: "):
            frontend.hop_frames(hop + 1)


@pytest.mark.parametrize("frontend", [Identity(), Waveform()])
def test_a_front_end_without_a_form_of_its_own_computes_the_whole_window_anew(frontend):
    frontend.fit(sound(50, 0, count=4))
    stream = sound(80, 1, count=2)
    state = frontend.hop_state(stream[:, :50])
    for k in range(1, 4):
        features, state = frontend.step(stream[:, 40 + 10 * k : 50 + 10 * k], state)
        assert torch.equal(features, frontend(stream[:, 10 * k : 10 * k + 50]))
    assert frontend.hop_frames(10) is None


def test_a_hop_that_is_no_multiple_of_the_stride_gives_an_error_of_one_line():
    with pytest.raises(UserError) as error:
        LogMel().hop_frames(400)
    assert str(error.value) == ("hops: hop: 400 samples, but a frame begins every 320 samples; nearest choice: 320")


def test_front_end_and_network_go_by_hops_together():
    frontend = LogMel(sample_rate=RATE, fft=128, high_hz=2000.0).fit(sound(RATE, 0, count=8))
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, (5, 40)), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    hop = 2 * frontend.stride
    frames = frontend.hop_frames(hop)
    by_hops = HopNetwork(network.double().eval(), frontend.output_shape, frames.axis - 1, frames.hop)
    stream = sound(RATE + 3 * hop, 1)
    window = stream[:, :RATE]
    tail, (_, state) = frontend.hop_state(window), by_hops.catch_up(frontend(window).double())
    for k in range(1, 4):
        features, tail = frontend.step(stream[:, RATE + (k - 1) * hop : RATE + k * hop], tail)
        output, *state = by_hops(features.double(), *state)
        torch.testing.assert_close(output, network(frontend(stream[:, k * hop : k * hop + RATE]).double()))
