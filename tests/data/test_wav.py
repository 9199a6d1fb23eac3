"""Tests of reading WAV files: all formats give the same waveform; errors name a damaged file."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatesearch._lib.console import collect_warnings
from gatesearch.data import wav, wav_blocks
from gatesearch.errors import UserError

RATE = 16000
TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
HEADER_BYTES = 44  # length of a plain WAV file's header


def write(path: Path, values: np.ndarray, subtype: str = "PCM_16", rate: int = RATE) -> Path:
    soundfile.write(path, values, rate, subtype=subtype, format="WAV")
    return path


# Largest rounding error of each format, in steps of int16.
MAX_ERRORS = {"PCM_16": 1, "PCM_24": 1, "PCM_32": 1, "FLOAT": 1, "DOUBLE": 1, "PCM_U8": 257, "ULAW": 1400, "ALAW": 1400}


@pytest.mark.parametrize("subtype", MAX_ERRORS)
@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_a_tone_is_the_same_in_every_format(tmp_path: Path, subtype: str, channels: int) -> None:
    wave = wav.read(write(tmp_path / "a.wav", np.stack([TONE] * channels, 1), subtype), RATE).astype(float)
    assert np.abs(wave - 32768 * TONE).max() <= MAX_ERRORS[subtype]


def test_one_silent_channel_halves_the_wave(tmp_path: Path) -> None:
    wave = wav.read(write(tmp_path / "a.wav", np.stack([TONE, 0 * TONE], 1)), RATE).astype(float)
    assert np.abs(wave - 16384 * TONE).max() <= 1


def set_field(offset: int, form: str, value: int) -> Callable[[bytes], bytes]:
    """Return a function that overwrites one field of the header in the bytes of a file."""
    width = struct.calcsize(form)
    return lambda raw: raw[:offset] + struct.pack(form, value) + raw[offset + width :]


WRONG_VALUES = {
    "the numbers of int16": (TONE * 32768, "reaches 16384 where full scale is 1: its samples are int16 values"),
    "three times full scale": (TONE * 6, "reaches 3 where full scale is 1; scale it"),
    "nan": (np.where(np.arange(RATE) == 77, np.nan, TONE), "holds nan at sample 77"),
    "infinity": (np.append(TONE, np.inf), f"holds inf at sample {RATE}"),
    "one value of 1e29": (np.append(TONE, 1e29), r"reaches 1e\+29"),
    "antiphase": (np.stack([TONE, -TONE], 1), "its 2 channels cancel each other"),
    "nearly antiphase": (np.stack([TONE, -0.98 * TONE], 1), "its 2 channels cancel each other"),
    "nothing": (TONE[:0], "holds no samples"),
}
WRONG_BYTES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut short": (lambda raw: raw[:20000], "is cut short: its header says 32000 bytes of sound, and 19956 are there"),
    "cut in the header": (lambda raw: raw[:30], "cannot be read as a WAV file"),
    "no bytes": (lambda raw: b"", "cannot be read as a WAV file"),
    "text": (lambda raw: b"hello", "cannot be read as a WAV file"),
    "size too small": (set_field(40, "<I", 1000), "its header says 1000 bytes of sound, and more than that follows"),
    "wrong channel count": (set_field(22, "<H", 2), "contradicts itself: 2 channels of 16 bits in 2 bytes"),
    "no channels": (set_field(22, "<H", 0), "cannot be read as a WAV file"),
    "wrong bit depth": (set_field(34, "<H", 24), "contradicts itself: 1 channels of 24 bits in 2 bytes"),
    "frames of 7 bytes": (set_field(32, "<H", 7), "contradicts itself"),
    "wrong sample rate": (set_field(24, "<I", 44100), "contradicts itself: 44100 Hz of 2 bytes, and 32000"),
    "no sample rate": (set_field(24, "<I", 0), "cannot be read as a WAV file"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_VALUES)
def test_errors_describe_wrong_samples_and_name_the_file(tmp_path: Path, name: str) -> None:
    values, message = WRONG_VALUES[name]
    path = write(tmp_path / "a.wav", values, "DOUBLE")
    with pytest.raises(UserError, match=message) as error:
        wav.read(path, RATE)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", WRONG_BYTES)
def test_errors_describe_wrong_headers_and_name_the_file(tmp_path: Path, name: str) -> None:
    change, message = WRONG_BYTES[name]
    path = write(tmp_path / "a.wav", TONE)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match=message) as error:
        wav.read(path, RATE)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000])
def test_the_placeholder_size_in_files_written_to_a_pipe_is_ignored(tmp_path: Path, size: int) -> None:
    path = write(tmp_path / "a.wav", TONE)
    path.write_bytes(set_field(40, "<I", size)(path.read_bytes()))
    assert len(wav.read(path, RATE)) == RATE


def test_other_chunks_before_and_after_the_samples_are_skipped(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", TONE)
    raw, chunk = path.read_bytes(), b"LIST\x05\0\0\0abcde\0"
    path.write_bytes(raw[:36] + chunk + raw[36:] + chunk)
    assert len(wav.read(path, RATE)) == RATE


def test_samples_slightly_beyond_full_scale_are_clipped_with_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", TONE * 2.2, "FLOAT")
    with collect_warnings() as lines:
        wave = wav.read(path, RATE)
    assert lines == [f"{path}: exceeds full scale and is clipped"] and np.abs(wave.astype(int)).max() == 32768
    with collect_warnings() as lines:
        clips = wav.read_clips([path, write(tmp_path / "b.wav", TONE)], RATE, RATE)
    assert clips.remarks == [f"1 files exceed full scale and are clipped, first: '{path}'"] and not lines


def test_files_much_shorter_or_longer_than_a_clip_are_counted(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{length}.wav", np.tile(TONE, 3)[:length]) for length in (1, 1599, 1600, 24000, 24001)]
    short, long = wav.read_clips(paths, RATE, RATE).remarks
    assert short.startswith("2 files are shorter than 10% of a clip") and long.startswith("1 files are longer than 1.5")


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_endless_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_folder(path: Path) -> None:
    path.mkdir()


def make_broken_link(path: Path) -> None:
    path.symlink_to("nowhere")


def make_circular_link(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [make_pipe, make_endless_device, make_folder, make_broken_link, make_circular_link])
def test_paths_that_are_not_regular_files_are_refused_without_waiting(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "a.wav")
    for read in (lambda path: wav.read(path, RATE), wav_blocks.sample_rate):
        with pytest.raises(UserError, match=r"a\.wav (is no regular file|cannot be read)"):
            read(tmp_path / "a.wav")


def test_a_file_name_that_is_not_utf8_is_refused_or_skipped(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    path.write_bytes(write(tmp_path / "a.wav", TONE).read_bytes())
    with pytest.raises(UserError, match=r"caf\\xe9\.wav has a name that is no UTF-8; rename it"):
        wav.read(path, RATE)
    assert wav.read_clips([tmp_path / "a.wav", path], RATE, RATE, skip_bad=True).indices == [0]


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "b.wav").symlink_to(write(tmp_path / "a.wav", TONE))
    assert len(wav.read(tmp_path / "b.wav", RATE)) == RATE


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(offset=st.integers(0, HEADER_BYTES + 8), value=st.integers(0, 255), cut=st.none() | st.integers(0, 400))
def test_a_damaged_file_is_refused_or_its_samples_are_read_unchanged(
    tmp_path: Path, offset: int, value: int, cut: int | None
) -> None:
    path = write(tmp_path / "a.wav", TONE[:200])
    raw = bytearray(path.read_bytes())
    raw[offset] = value
    path.write_bytes(raw[:cut])
    try:
        wave = wav.read(path, RATE)
    except UserError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return
    # If the header gives an odd number of bytes, the last sample may be missing.
    # If it gives the placeholder size of a pipe, the samples extend to the end of the file.
    present = bytes(raw[:cut])[HEADER_BYTES:]
    expected = np.frombuffer(present[: len(present) // 2 * 2], "<i2")
    assert len(expected) - 1 <= len(wave) <= len(expected)
    assert np.abs(wave.astype(int) - expected[: len(wave)]).max() <= 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    gain=st.floats(0.001, 1e6),
    subtype=st.sampled_from(["FLOAT", "DOUBLE"]),
    channels=st.integers(1, 3),
    flip=st.booleans(),
)
def test_float_files_are_read_unchanged_or_refused_with_their_name(
    tmp_path: Path, gain: float, subtype: str, channels: int, flip: bool
) -> None:
    values = np.stack([TONE[:400] * gain] * channels, 1)
    values[:, -1] *= -1 if flip and channels == 2 else 1
    path = write(tmp_path / "a.wav", values, subtype)
    with collect_warnings() as lines:
        try:
            wave = wav.read(path, RATE).astype(float)
        except UserError as error:
            assert str(path) in str(error) and (gain > 4 or (flip and channels == 2))
            return
    mean = 32768 * values.mean(1)
    assert np.abs(wave - np.clip(mean, -32768, 32767)).max() <= 1
    assert bool(lines) == bool(np.abs(values.mean(1)).max() > 1)
