"""Tests that features in fixed point are those of the float front end, within one step of int8."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.errors import DataError
from gatesearch.frontends import MFCC, LogMel
from gatesearch.frontends.fixed_point import LOG_BITS, input_order, logarithm, magnitude, pass_roots, transform
from gatesearch.frontends.grid import FEATURE_SCALE

RATE = 16000
FRONTS = {
    "log mel": lambda: LogMel(),
    "log mel, 20 bands": lambda: LogMel(mel_bins=20),
    "MFCC": lambda: MFCC(),
    "MFCC, frames of 40 ms": lambda: MFCC(window_ms=40.0, stride_ms=40.0, fft=1024),
    "log mel to 8 kHz": lambda: LogMel(window_ms=25.0, stride_ms=10.0, mel_bins=64, high_hz=8000.0),
}


def speech(seed: int, level: float = 0.3) -> np.ndarray:
    """Return a second of sound like speech, int16: syllables with formants, hiss and pauses, in faint noise."""
    rng, n = np.random.default_rng(seed), np.arange(RATE)
    pitch = np.interp(n, np.linspace(0, RATE, 6), rng.uniform(80, 250, 6))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    formants = np.stack([np.interp(n, np.linspace(0, RATE, 8), rng.uniform(*edge, 8)) for edge in FORMANTS_HZ])
    voice = np.zeros(RATE)
    for harmonic in range(1, 30):
        gain = (0.01 + np.exp(-(((harmonic * pitch - formants) / 120) ** 2)).sum(0)) / harmonic
        voice += gain * np.sin(harmonic * phase)
    hiss = np.diff(rng.standard_normal(RATE + 1))
    shape = np.interp(n, np.linspace(0, RATE, 12), rng.choice([0, 0, 0.3, 1.0], 12))
    mix = np.interp(n, np.linspace(0, RATE, 9), rng.choice([0.0, 1.0], 9))
    wave = level * shape * (mix * voice + 0.2 * (1 - mix) * hiss) + 3e-4 * rng.standard_normal(RATE)
    return np.clip(np.round(32768 * wave), -32768, 32767).astype(np.int16)


FORMANTS_HZ = ((250, 900), (900, 2200), (2200, 3200))


def fitted(name: str) -> LogMel:
    return FRONTS[name]().fit(torch.from_numpy(np.stack([speech(seed) for seed in range(12)])))


def frames_of(front: LogMel, wave: np.ndarray) -> np.ndarray:
    starts = np.arange(front.output_shape[1]) * front.stride
    return wave[starts[:, None] + np.arange(front.frame)]


def differences(front: LogMel, waves: list[np.ndarray]) -> np.ndarray:
    """Return by how many steps of int8 features in fixed point differ from features in float."""
    fixed = front.fixed()
    assert fixed is not None
    ours = np.concatenate([fixed.features_of(frames_of(front, wave)) for wave in waves]).astype(int)
    features = front(torch.from_numpy(np.stack(waves)))[:, 0] / FEATURE_SCALE
    return np.abs(ours - features.numpy().round().astype(int).reshape(ours.shape))


@pytest.mark.parametrize("name", FRONTS)
def test_features_of_speech_are_those_of_the_float_front_end(name: str) -> None:
    """At least 99 % of the features are equal, and no feature differs by more than one step."""
    steps = differences(fitted(name), [speech(100 + seed, level) for seed in range(8) for level in (0.02, 0.3, 4.0)])
    print(f"{name}: {(steps == 0).mean():.2%} equal, {(steps <= 1).mean():.2%} within one step of int8")
    assert steps.max() <= 1 and (steps == 0).mean() >= 0.99


@pytest.mark.parametrize("name", FRONTS)
@pytest.mark.parametrize("value", [0, 1, -1, 100, 32767, -32768])
def test_features_of_a_constant_sound_are_those_of_the_float_front_end(name: str, value: int) -> None:
    front = fitted(name)
    assert differences(front, [np.full(RATE, value, np.int16)]).max() <= 1


def test_the_quantisation_of_the_network_is_that_of_the_features() -> None:
    front, wave = fitted("MFCC"), speech(7)
    fixed = front.fixed(scale=0.11, zero_point=-20)
    assert fixed is not None
    real = front.normalise(front.spectrum(torch.from_numpy(wave[None])))[0].numpy()
    expected = np.clip(np.round(real / 0.11) - 20, -128, 127)
    assert np.abs(fixed.features_of(frames_of(front, wave)) - expected).max() <= 1


def test_a_transform_of_unsupported_size_has_no_tables() -> None:
    assert LogMel(window_ms=1.0, stride_ms=1.0, fft=16, mel_bins=2).fixed() is None


def test_a_derived_class_has_tables_only_if_it_sets_has_fixed_point() -> None:
    classes = {value: type("Derived", (LogMel,), {"has_fixed_point": value}) for value in (False, True)}
    assert classes[False]().fixed() is None and classes[True]().fixed() is not None
    assert type("Silent", (LogMel,), {})().fixed() is None


@pytest.mark.parametrize("frames", [np.zeros((2, 480)), np.zeros(480, np.int16), np.zeros((2, 479), np.int16)])
def test_frames_of_another_shape_are_refused(frames: np.ndarray) -> None:
    fixed = LogMel().fixed()
    assert fixed is not None
    with pytest.raises(DataError, match=r"wanted: int16 \[n, 480\]"):
        fixed.features_of(frames)


@settings(deadline=None)
@given(st.integers(2, 11), st.integers(0, 2**31))
def test_the_transform_is_the_fourier_transform(bits: int, seed: int) -> None:
    points = 2**bits
    values = np.random.default_rng(seed).integers(-(2**27), 2**27, (3, points, 2))
    z = transform(values, input_order(points), pass_roots(points))
    passes = sum(4**k < points for k in range(1, 12))
    expected = np.fft.fft(values[..., 0] + 1j * values[..., 1]) / 4**passes
    assert np.abs(z[..., 0] + 1j * z[..., 1] - expected).max() <= 8  # the values are up to 2^29


@settings(deadline=None)
@given(st.integers(-(2**30) + 1, 2**30 - 1), st.integers(-(2**30) + 1, 2**30 - 1))
def test_a_magnitude_is_within_a_few_hundredths_of_a_percent(re: int, im: int) -> None:
    size = np.hypot(re, im)
    assert abs(int(magnitude(np.array([re, im]))) - size) <= 1 + 3e-4 * size  # rounded down


@settings(deadline=None)
@given(st.integers(1, 2**62))
def test_a_logarithm_is_within_a_thousandth_of_an_octave(value: int) -> None:
    assert int(logarithm(np.array(value))) / 2**LOG_BITS == pytest.approx(np.log2(value), abs=0.001)
