"""Tests of reading a WAV file in blocks: any cut gives the samples of the whole, in little memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from gatesearch.data import wav_blocks
from gatesearch.data.waveforms import INT16_FULL_SCALE, resample, resample_blocks, to_int16
from gatesearch.errors import UserError

RATES = (8000, 11025, 16000, 22050, 44100, 48000, 96000)


@given(
    rate=st.sampled_from(RATES),
    new_rate=st.sampled_from(RATES),
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.integers(0, 4000), max_size=6),
    length=st.integers(1, 4000),
)
@settings(max_examples=60, deadline=None)
def test_resampling_in_blocks_equals_the_whole(
    rate: int, new_rate: int, seed: int, cuts: list[int], length: int
) -> None:
    wave = np.random.default_rng(seed).integers(-32768, 32768, length).astype(np.int16)
    blocks = np.split(wave, sorted(min(cut, length) for cut in cuts))
    joined = np.concatenate(list(resample_blocks(blocks, rate, new_rate)))
    np.testing.assert_array_equal(joined, resample(wave, rate, new_rate))
    if rate != new_rate:
        whole = signal.resample_poly(wave.astype(np.float64), new_rate, rate)
        np.testing.assert_array_equal(joined, to_int16(whole / INT16_FULL_SCALE))


@pytest.mark.parametrize("channels", [1, 2])
def test_blocks_are_the_samples_of_the_file_whatever_their_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int
) -> None:
    values = np.random.default_rng(0).uniform(-0.9, 0.9, (20_000, channels))
    soundfile.write(tmp_path / "a.wav", values, 48000, subtype="DOUBLE")
    expected = resample(to_int16(values.mean(1)), 48000, 16000)
    for size in (1, 999, 7000, 10**6):
        monkeypatch.setattr(wav_blocks, "BLOCK_VALUES", max(size, 100) * channels)
        np.testing.assert_array_equal(wav_blocks.open_wav(tmp_path / "a.wav", 16000).join(), expected)


def test_a_file_of_one_block_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    read_blocks = wav_blocks._read_blocks
    monkeypatch.setattr(wav_blocks, "_read_blocks", lambda path: (reads.append(path), read_blocks(path))[1])
    soundfile.write(tmp_path / "a.wav", np.zeros(1000), 16000)
    assert len(wav_blocks.open_wav(tmp_path / "a.wav", 16000).join()) == 1000 and len(reads) == 1
    monkeypatch.setattr(wav_blocks, "BLOCK_VALUES", 999)
    assert len(wav_blocks.open_wav(tmp_path / "a.wav", 16000).join()) == 1000 and len(reads) == 3


def test_a_fault_late_in_a_file_is_named_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.zeros(5000)
    values[4321] = np.nan
    soundfile.write(tmp_path / "a.wav", values, 16000, subtype="FLOAT")
    monkeypatch.setattr(wav_blocks, "BLOCK_VALUES", 100)
    with pytest.raises(UserError, match="holds nan at sample 4321"):
        wav_blocks.open_wav(tmp_path / "a.wav", 16000)


def test_a_long_file_takes_the_memory_of_a_block(tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "a.wav", "w", 48000, 1, "PCM_16") as file:
        for _ in range(20):
            file.write(np.zeros(48000 * 30, np.int16))
    tracemalloc.start()
    try:
        samples = sum(len(block) for block in wav_blocks.open_wav(tmp_path / "a.wav", 16000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert samples == 20 * 30 * 16000
    assert peak < 100e6  # the whole file as float64 is 230 MB
