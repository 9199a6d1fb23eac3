"""Tests that the fixed-point front end's kernel equals its reference to the bit, for every instruction set."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatesearch import kernels
from gatesearch.errors import DataError
from gatesearch.frontends import MFCC, LogMel
from gatesearch.frontends.fixed_mel import FixedMel
from gatesearch.kernels import Library
from gatesearch.kernels.fixed_mel import FixedMelStream
from gatesearch.kernels.library import SOURCES


@st.composite
def tables(draw: st.DrawFn) -> FixedMel:
    """Draw the tables of a log-mel or MFCC front end with random sizes, statistics and quantisation."""
    fft = 2 ** draw(st.integers(5, 12))
    frame, stride = draw(st.integers(max(1, fft // 3), fft)), draw(st.integers(1, 2 * fft))
    mels = draw(st.integers(1, min(80, fft // 2)))
    rate, high = 16000, draw(st.sampled_from([4000.0, 7600.0, 8000.0]))
    lengths = {"window_ms": frame / 16, "stride_ms": stride / 16, "seconds": (frame + draw(st.integers(0, fft))) / rate}
    sizes: dict[str, Any] = {
        "fft": fft,
        "mel_bins": mels,
        "high_hz": high,
        "low_hz": draw(st.sampled_from([0.0, 20.0])),
    }
    if draw(st.booleans()):
        front: LogMel = MFCC(draw(st.integers(1, mels)), **sizes, **lengths)
    else:
        front = LogMel(**sizes, **lengths)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    std = 10 ** (3 * torch.rand(front.features, generator=generator) - 2)
    front.set_statistics(6 * torch.randn(front.features, generator=generator) - 5, std)
    fixed = front.fixed(draw(st.sampled_from([1 / 16, 0.0371, 1.0])), draw(st.integers(-128, 127)))
    assert fixed is not None
    return fixed


@st.composite
def sounds(draw: st.DrawFn, samples: int) -> np.ndarray:
    """Draw noise, tones, silence, a constant, full scale, clipped sound or single clicks: int16 [samples]."""
    rng, level = np.random.default_rng(draw(st.integers(0, 2**31))), 2 ** draw(st.floats(-1, 16))
    kind = draw(st.sampled_from(["noise", "tone", "silence", "constant", "square", "clipped", "clicks", "fade"]))
    n = np.arange(samples)
    wave = {
        "noise": lambda: level * rng.standard_normal(samples),
        "tone": lambda: level * np.sin(n * rng.uniform(0, np.pi)),
        "silence": lambda: np.zeros(samples),
        "constant": lambda: np.full(samples, rng.choice([-32768, -1, 1, 32767, level])),
        "square": lambda: np.where(n // rng.integers(1, 200) % 2, 32767, -32768),
        "clipped": lambda: 1e6 * rng.standard_normal(samples),
        "clicks": lambda: level * (rng.random(samples) < 0.01),
        "fade": lambda: level * rng.standard_normal(samples) * 2.0 ** (-n / max(samples / 16, 1)),
    }[kind]()
    return np.clip(np.round(wave), -32768, 32767).astype(np.int16)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_features_equal_the_reference_to_the_bit(library: Library, data: st.DataObject) -> None:
    fixed = data.draw(tables())
    count = data.draw(st.integers(1, 4))
    samples = data.draw(sounds(fixed.frame + (count - 1) * fixed.stride))
    frames = np.stack([samples[k * fixed.stride :][: fixed.frame] for k in range(count)])
    assert np.array_equal(FixedMelStream(fixed, library).frames(samples, count), fixed.features_of(frames))


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_stream_has_the_frames_of_the_whole_sound(library: Library, data: st.DataObject) -> None:
    """A stream begins with silence; from then on, its frames begin one stride apart."""
    fixed = data.draw(tables())
    stream, hops = FixedMelStream(fixed, library), data.draw(st.integers(1, 6))
    samples = data.draw(sounds(hops * fixed.stride))
    features = np.stack([stream.push(part) for part in samples.reshape(hops, fixed.stride)])
    delayed = np.concatenate([np.zeros(max(fixed.lag, 0), np.int16), samples])[max(-fixed.lag, 0) :]
    assert np.array_equal(features, stream.frames(delayed, hops))


def test_without_a_compiler_the_reference_runs(monkeypatch: pytest.MonkeyPatch, library: Library) -> None:
    fixed = LogMel().fixed()
    samples = np.random.default_rng(0).integers(-3000, 3000, 3200).astype(np.int16)
    compiled = FixedMelStream(fixed, library)
    monkeypatch.setattr(kernels.native, "load", lambda: None)
    stream = FixedMelStream(fixed)
    assert np.array_equal(stream.frames(samples, 9), compiled.frames(samples, 9))
    for part in samples.reshape(10, 320):
        assert np.array_equal(stream.push(part), compiled.push(part))


@pytest.mark.parametrize("samples", [np.zeros(320, np.float32), np.zeros((320, 1), np.int16), np.zeros(319, np.int16)])
def test_samples_that_are_no_hop_are_refused(library: Library, samples: Any) -> None:
    with pytest.raises(DataError, match="wanted: "):
        FixedMelStream(LogMel().fixed(), library).push(samples)


@pytest.mark.parametrize("compiler", ["cc", "clang", "arm-none-eabi-gcc"])
def test_the_c_file_is_c99_without_extensions_and_without_floats(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    flags = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-O2", "-c"]
    core = ["-mcpu=cortex-m0", "-mthumb"] if compiler.startswith("arm") else []
    command = [compiler, *flags, *core, str(SOURCES / "fixed_mel.c"), "-o", str(tmp_path / "mel.o")]
    subprocess.run(command, check=True, capture_output=True, text=True)
    if core:  # a core without a unit for floats calls a function for each operation
        names = subprocess.run(
            ["arm-none-eabi-nm", str(tmp_path / "mel.o")], capture_output=True, text=True, check=True
        )
        assert not re.search(r"__aeabi_[fd]|malloc", names.stdout)
