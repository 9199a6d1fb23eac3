"""Tests of the front end ``micro`` against pymicro-features, by windows and by hops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.data.scenes import Scene
from gatesearch.errors import UserError
from gatesearch.frontends import LogMel, Micro, restore
from gatesearch.frontends.grid import FEATURE_SCALE
from gatesearch.frontends.micro import LARGEST
from gatesearch.frontends.micro_channels import bit_length, channel_magnitudes, control_gain, reduce_noise
from gatesearch.frontends.micro_spectrum import Complex, transform
from gatesearch.metrics.streams import Background
from gatesearch.training.stream_split import read_stream, window_features

REFERENCE_STEP = 160  # samples: pymicro-features begins a frame every 10 ms
REFERENCE_SCALE = 0.0390625  # pymicro-features multiplies the integers of microfrontend by this


def sound(samples: int, seed: int, volume: float, share: float = 1.0) -> torch.Tensor:
    generator = np.random.default_rng(seed)
    values = volume * generator.standard_normal(samples) * (generator.random(samples) < share)
    return torch.from_numpy(values.clip(-32768, 32767).astype(np.int16))


def reference(samples: torch.Tensor) -> torch.Tensor:
    """Return int8 features [frames, 40] of pymicro-features, mapped as in TFLite Micro's example micro_speech."""
    frontend = pytest.importorskip("pymicro_features").MicroFrontend()
    frames = []
    for piece in samples.split(REFERENCE_STEP):
        features = frontend.process_samples(piece.numpy().tobytes()).features
        frames += [features] if features else []
    values = (torch.tensor(frames) / REFERENCE_SCALE).round().long()
    return ((256 * values + LARGEST // 2) // LARGEST - 128).clamp(-128, 127)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 999), st.sampled_from([0, 1, 30, 1000, 8000, 40000]), st.floats(0.05, 1), st.integers(3, 60))
def test_frames_equal_those_of_pymicro_features_bit_for_bit(seed, volume, share, steps):
    samples = sound(REFERENCE_STEP * steps, seed, volume, share)
    features = Micro(seconds=steps / 100)(samples[None])[0, 0]
    assert torch.equal(features / FEATURE_SCALE, reference(samples).float())


def test_full_scale_and_silence_equal_those_of_pymicro_features():
    loudest = torch.full((4800,), -32768, dtype=torch.int16)
    for samples in (loudest, loudest.where(torch.arange(4800) % 7 > 0, 32767), torch.zeros(4800, dtype=torch.int16)):
        assert torch.equal(Micro(seconds=0.3)(samples[None])[0, 0] / FEATURE_SCALE, reference(samples).float())


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from([10.0, 20.0]),
    st.sampled_from([0.03, 0.11, 0.5]),
    st.integers(1, 8),
    st.sampled_from([10, 40]),
    st.integers(0, 99),
)
def test_frames_of_hops_are_those_of_the_whole_stream_bit_for_bit(stride_ms, seconds, frames_a_hop, bins, seed):
    frontend = Micro(seconds=seconds, stride_ms=stride_ms, mel_bins=bins)
    window, hop = frontend.input_shape[0], frames_a_hop * frontend.stride
    stream = torch.stack([sound(window + 4 * hop, seed + k, 3000) for k in range(2)])
    whole, frames = frontend(stream), frontend.hop_frames(hop)
    state = frontend.hop_state(stream[:, :window])
    assert torch.equal(frontend(stream[:, :window]), whole[:, :, : frames.count])
    for k in range(1, 5):
        features, state = frontend.step(stream[:, window + (k - 1) * hop : window + k * hop], state)
        end = frames.count + k * frames.hop
        assert torch.equal(features, whole[:, :, end - frames.fresh : end])


def test_features_of_a_stream_are_those_of_one_long_row():
    frontend = Micro(seconds=0.2)
    stream = sound(16000 * 12, 0, 2000)  # more frames than are computed at once
    windows = window_features(stream, frontend, 3200, 640)
    whole = frontend(stream[None])[0]
    for k in (0, 1, 100, len(windows) - 1):
        assert torch.equal(windows[k], whole[:, 4 * k : 4 * k + 18])
    assert not torch.equal(windows[100], frontend(stream[None, 64000:67200])[0])  # a window alone lacks the past


def test_no_gate_on_the_signal_stands_before_it():
    quiet = (Background("quiet", 0.0, 1.0),)
    scene = Scene(
        name="s", rate=16000, length=16000, classes=(), events=(), segments=quiet, samples=sound(16000, 0, 900).numpy()
    )
    for frontend, statistics in ((LogMel(seconds=0.2), True), (Micro(seconds=0.2), False)):
        assert bool(read_stream(scene, frontend, 0.2, 0.04, ["positive", "quiet"]).signal) == statistics


def test_a_hop_that_frames_do_not_divide_is_refused_for_a_stream():
    with pytest.raises(UserError, match="a frame begins every 320 samples; nearest choice: 640"):
        window_features(sound(16000, 0, 900), Micro(seconds=0.2, stride_ms=20), 3200, 700)


def test_noise_is_subtracted_until_the_least_share_is_left():
    magnitudes = np.full((1, 400, 40), 10000)
    signals, _ = reduce_noise(magnitudes, np.zeros((1, 40), np.int64))
    assert (np.diff(signals[0], axis=0) <= 0).all()  # a constant sound is taken for noise
    assert signals[0, 0].min() > 9000 and (signals[0, -1] == 10000 * 819 >> 14).all()


def test_gain_control_gives_about_the_same_for_loud_and_quiet_sound():
    results = []
    for volume in (1000, 30000):
        signals, estimates = reduce_noise(np.full((1, 5, 40), volume), np.zeros((1, 40), np.int64))
        results.append(control_gain(signals, estimates)[0, -1].astype(float))
    assert (results[1] / results[0]).max() < 2


def test_a_tone_is_loudest_in_its_channel():
    tone = (9000 * np.sin(2 * np.pi * 1000 / 16000 * np.arange(480))).astype(np.int16)
    magnitudes = channel_magnitudes(tone[None], 40)[0]
    # 41 bands lie between 125 and 7500 Hz on the mel scale; channel i has its peak at the upper edge of band i.
    low, high, mel = (1127 * np.log1p(hertz / 700) for hertz in (125, 7500, 1000))
    assert abs(magnitudes.argmax() + 1 - 41 * (mel - low) / (high - low)) < 1


@pytest.mark.parametrize("points", [4, 16, 64, 256])
def test_the_transform_is_that_of_numpy_within_rounding(points):
    values = np.random.default_rng(0).integers(-30000, 30000, (2, points, 3)).astype(np.int32)
    result = transform(Complex(*values))
    expected = np.fft.fft(values[0] + 1j * values[1], axis=0) / points
    assert np.abs(result.re + 1j * result.im - expected).max() < 8


@given(st.integers(0, 2**53 - 1))
def test_the_bit_length_is_that_of_python(value):
    assert bit_length(np.array([value]))[0] == value.bit_length()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sample_rate": 8000}, "frontend.sample_rate: 8000 does not fit micro; wanted: 16000"),
        ({"stride_ms": 15.0}, "frontend.stride_ms: 15.0 does not fit micro; wanted: 10 or 20"),
        ({"seconds": 0.02}, r"frontend.seconds: 0.02 does not fit micro; wanted: one frame \(0.03 s\) or more"),
        ({"mel_bins": 0}, "frontend.mel_bins: 0 does not fit micro; wanted: 1 to 256"),
    ],
)
def test_an_argument_that_does_not_fit_is_named_in_one_line(arguments, message):
    with pytest.raises(UserError, match=message):
        Micro(**arguments)


def test_clips_of_another_length_are_refused():
    with pytest.raises(UserError, match=r"frontend.seconds: 1.0 is 16000 samples; the data has clips of 4000"):
        Micro().fit(torch.zeros(3, 4000))


def test_it_is_not_restored_in_float():
    with pytest.raises(UserError, match="frontend: micro computes in fixed_point alone, not in float32"):
        restore(Micro().describe() | {"arithmetic": "float32"})
