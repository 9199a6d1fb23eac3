"""Reads a WAV file in blocks of int16 samples, so that hours of sound take little memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatesearch._lib.plugins import need
from gatesearch.data.sound_level import SoundLevel
from gatesearch.data.wav_files import check_file
from gatesearch.data.wav_header import check_header
from gatesearch.data.waveforms import Int16Waveform, resample_blocks, to_int16
from gatesearch.errors import UserError

HIGHEST_SAMPLE_RATE = 768_000
BLOCK_VALUES = 2**20  # values of all channels that are in memory at once, as float64


@dataclass(frozen=True, slots=True)
class WavBlocks:
    """A WAV file whose header and samples were checked.

    Args:
        path: the file.
        rate: the sample rate of the file.
        sample_rate: the sample rate of the blocks.
        values: number of values in all channels, as the header states it.
        clipped: whether the mean of the channels exceeds full scale somewhere; the blocks are limited to full scale.
        only_block: the values [samples, channels] of a short file, which are not read again; None for a longer file.
    """

    path: Path
    rate: int
    sample_rate: int
    values: int
    clipped: bool
    only_block: npt.NDArray[np.float64] | None = field(default=None, repr=False, compare=False)

    def __iter__(self) -> Iterator[Int16Waveform]:
        """Yield the blocks [n], of any lengths; joined, they are the samples of the file."""
        blocks = _read_blocks(self.path) if self.only_block is None else [self.only_block]
        waves = (to_int16(block.mean(axis=1)) for block in blocks)
        return resample_blocks(waves, self.rate, self.sample_rate)

    def join(self) -> Int16Waveform:
        """Return all samples of the file, int16 [samples]."""
        return np.concatenate(list(self))

    def describe_clipping(self) -> str:
        """Return the line that says that the file exceeds full scale."""
        return f"{self.path}: exceeds full scale and is clipped"


def sample_rate(path: Path) -> int:
    """Return the sample rate of a file.

    Raises:
        UserError: the file is not a readable WAV file.
    """
    return _open_header(path)[0]


def read_length(path: Path) -> tuple[float, int]:
    """Return the length of a file in seconds and its sample rate, as its header states them.

    Raises:
        UserError: the file is not a readable WAV file.
    """
    rate, frames, _ = _open_header(path)
    return frames / rate, rate


def open_wav(path: Path, sample_rate: int, largest: int | None = None) -> WavBlocks:
    """Check a file of any sample format, and return it as blocks of int16; channels are averaged.

    A file with a higher sample rate is resampled. A file with a lower rate is refused: its upper band would be empty,
    and a network would recognise a class of such files by the empty band. A float file that exceeds full scale by less
    than 6 dB is clipped.

    Args:
        path: the file.
        sample_rate: the sample rate of the blocks.
        largest: largest number of values in all channels; None for no limit.

    Raises:
        UserError: the file is not a readable WAV file, is empty, cut short or too large, or has a lower sample rate;
            its values are not finite or far beyond full scale; or its channels cancel each other.
    """
    rate, frames, channels = _open_header(path)
    values = frames * channels
    if rate < sample_rate:
        reason = f"is sampled at {rate} Hz, below data.sample_rate={sample_rate}; data.sample_rate={rate} reads it"
        raise UserError(f"{path}: {reason}")
    if not values:
        raise UserError(f"{path}: holds no samples")
    if largest is not None and values > largest:
        raise UserError(f"{path}: holds {values:,} samples; cut it into files of up to {largest:,}")
    check_header(path)
    level, only_block = SoundLevel(), None
    for count, block in enumerate(_read_blocks(path), 1):
        level.add(block)
        only_block = block if count == 1 else None
    level.check(path)
    return WavBlocks(path, rate, sample_rate, values, level.exceeds_full_scale, only_block)


def _read_blocks(path: Path) -> Iterator[npt.NDArray[np.float64]]:
    """Yield the values of a file [samples, channels] in blocks."""
    import soundfile

    try:
        with path.open("rb") as file, soundfile.SoundFile(file) as sound:
            samples = max(1, BLOCK_VALUES // sound.channels)
            while len(values := sound.read(samples, dtype="float64", always_2d=True)):
                yield values
    except (soundfile.SoundFileError, OSError) as error:
        raise UserError(f"{path}: cannot be read as a WAV file ({_reason(error)})") from None


def _open_header(path: Path) -> tuple[int, int, int]:
    """Return the sample rate, the samples of a channel and the channels, as the header of a file states them."""
    need("data.root", "soundfile")
    import soundfile

    check_file(path)
    try:
        with path.open("rb") as file:
            info = soundfile.info(file)
    except (soundfile.SoundFileError, OSError) as error:
        raise UserError(f"{path}: cannot be read as a WAV file ({_reason(error)})") from None
    if not 0 < info.samplerate <= HIGHEST_SAMPLE_RATE:
        raise UserError(f"{path}: its header says {info.samplerate} Hz; wanted: up to {HIGHEST_SAMPLE_RATE} Hz")
    return int(info.samplerate), int(info.frames), int(info.channels)


def _reason(error: Exception) -> str:
    return str(error).rpartition(": ")[2].rstrip(".")
