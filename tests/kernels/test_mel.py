"""Tests of the kernels of the front ends: features of clips and of streams."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gatesearch import kernels
from gatesearch.frontends import MFCC, LogMel
from gatesearch.kernels import Library, Mel, MelStream

FRONTS = {
    "mfcc": lambda: MFCC(),
    "40 ms, 13 coefficients": lambda: MFCC(13, window_ms=40.0, stride_ms=40.0, fft=1024, mel_bins=30),
    "log mel to the last bin": lambda: LogMel(high_hz=8000.0),
    "odd frames": lambda: LogMel(window_ms=7.5625, stride_ms=5.0, fft=128, seconds=0.2, mel_bins=9, high_hz=7000.0),
}


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    """Return a tone with noise and pauses, whose level and pitch change: int16 at 16 kHz, [samples]."""
    rng = np.random.default_rng(seed)
    n = int(16000 * seconds)
    level = np.repeat(10 ** rng.uniform(-5, -0.5, n // 400 + 1), 400)[:n] * (np.arange(n) % 5000 > 700)
    tone = np.sin(np.cumsum(np.repeat(rng.uniform(0.01, 1.5, n // 800 + 1), 800)[:n]))
    return np.clip((tone + 0.3 * rng.standard_normal(n)) * level * 32768, -32768, 32767).astype(np.int16)


def fitted(name: str) -> LogMel:
    front = FRONTS[name]()
    front.fit(torch.from_numpy(np.stack([sound(1.0, seed)[: front.samples] for seed in range(8)])))
    return front


@pytest.mark.parametrize("name", FRONTS)
def test_features_equal_those_of_the_front_end(library: Library, name: str) -> None:
    front = fitted(name)
    mel, apart, count = Mel(front, library), 0, 0
    for seed in range(20):
        wave = sound(1.0, 100 + seed)[: front.samples].astype(np.float32) / 32768
        result, expected = mel(wave).astype(int), mel.reference(wave).astype(int)
        assert result.shape == front.output_shape[1:] and np.abs(result - expected).max() <= 1
        apart, count = apart + int((result != expected).sum()), count + result.size
    assert apart <= 1e-3 * count
    assert len(np.unique(result)) > 20


@pytest.mark.parametrize("name", FRONTS)
@pytest.mark.parametrize("frames", [1, 3, 70])
def test_a_stream_equals_the_clip_that_ends_with_it(library: Library, name: str, frames: int) -> None:
    front = fitted(name)
    mel = Mel(front, library)
    stream, wave = MelStream(mel, frames), sound(3.0, 7)
    padded = np.concatenate([np.zeros(front.samples, np.int16), wave, np.zeros(front.samples, np.int16)])
    span = front.frame + (front.output_shape[1] - 1) * front.stride
    for step in range(1, min(len(wave) // stream.samples, 60) + 1):
        end = step * stream.samples
        window = stream(wave[end - stream.samples : end])
        first = front.samples + end - span
        expected = mel(padded[first : first + front.samples])
        assert (window == expected).all()


def test_without_a_compiler_the_front_end_itself_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels.native, "load", lambda: None)
    front = fitted("mfcc")
    mel = Mel(front)
    stream, wave = MelStream(mel, 5), sound(2.0)
    for step in range(20):
        window = stream(wave[step * 1600 : (step + 1) * 1600])
    features = front(torch.from_numpy(wave[None, 32000 - 15840 :]).float().div(32768))
    assert (window == (features[0, 0] * 16).round().numpy()).mean() > 0.999


def test_another_number_of_samples_is_refused() -> None:
    mel = Mel(MFCC())
    with pytest.raises(ValueError, match="a step is 320 samples, found \\[319\\]"):
        MelStream(mel)(np.zeros(319, np.float32))
    with pytest.raises(ValueError, match="wave has shape"):
        mel(np.zeros(319, np.float32))
    with pytest.raises(ValueError, match="there are gaps between frames"):
        MelStream(Mel(MFCC(stride_ms=40.0)))


DTYPES = ["int16", ">i2", "int32", "float16", "float32", ">f4", "float64", ">f8", "longdouble"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stride", [1, 2, -1])
def test_any_number_type_and_memory_layout_give_the_same_features(library: Library, dtype: str, stride: int) -> None:
    front = fitted("mfcc")
    wave = sound(1.0, 3)
    wave = wave // 32 * 32 if dtype == "float16" else wave
    expected_clip, expected = Mel(front, library)(wave), MelStream(Mel(front, library), 40)(wave[:12800])
    scale = {"int16": 1, ">i2": 1, "int32": 65536}.get(dtype, 1 / 32768)
    values = (wave.astype(np.float64) * scale).astype(dtype)
    spread = np.zeros((len(values), abs(stride)), values.dtype)
    spread[:, 0] = values if stride > 0 else values[::-1]
    strided = spread[::stride, 0] if stride < 0 else spread[:, 0]
    assert np.abs(Mel(front, library)(strided).astype(int) - expected_clip).max() <= (dtype == "float16")
    stream = MelStream(Mel(front, library), 40)
    assert np.abs(stream(strided[:12800]).astype(int) - expected).max() <= (dtype == "float16")


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (np.full(320, np.nan, np.float32), "not finite"),
        (np.append(np.zeros(319), np.inf), "not finite"),
        (np.full(320, 9000.0), "int16 values as floats"),
        (np.zeros(320, np.uint8), "wave is uint8; wanted: float"),
        (np.zeros(320, np.int64), "wave is int64"),
        (np.zeros(320, bool), "wave is bool"),
        ([0] * 320, "wave is int64"),
        (["a"] * 320, "wave is <U1"),
    ],
)
def test_inputs_that_are_not_sound_are_refused(library: Library, wave: Any, message: str) -> None:
    stream = MelStream(Mel(MFCC(), library))
    with pytest.raises(ValueError, match=message):
        stream(wave)
    assert np.array_equal(stream.window, MelStream(Mel(MFCC(), library)).window)
