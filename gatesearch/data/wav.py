"""Reads WAV files as int16 samples, one file or many in parallel, with errors that name the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gatesearch._lib import console
from gatesearch._lib.plugins import need
from gatesearch.data.sound_level import mix_channels
from gatesearch.data.wav_files import check_file, describe_names
from gatesearch.data.wav_header import check_header
from gatesearch.data.waveforms import Int16Waveform, fit_length, resample, to_int16
from gatesearch.errors import UserError

Progress = Callable[[int, int], None]
READER_THREADS = 4  # reading waits for the disk more than for the processor
REPORT_EVERY_FILES = 500
HIGHEST_SAMPLE_RATE = 768_000
MAX_VALUES = 2**29  # 9 hours of one channel at 16 kHz; more does not fit the memory of a laptop
SHORT_SHARE, LONG_SHARE = 0.1, 1.5  # of a clip's length; shorter and longer files get a remark


class Reading(NamedTuple):
    """One file as int16 samples, and whether it was clipped."""

    wave: Int16Waveform
    clipped: bool


class Clips(NamedTuple):
    """Files as clips of one length.

    Args:
        waves: the clips [N, samples].
        indices: for each clip, the index of its file in the list of paths.
        problems: one message for each file that was left out.
        remarks: lines on files that were read but look unusual.
    """

    waves: Int16Waveform
    indices: list[int]
    problems: list[str]
    remarks: list[str]


def sample_rate(path: Path) -> int:
    """Return the sample rate of a file.

    Raises:
        UserError: the file is not a readable WAV file.
    """
    return _open_header(path)[0]


def read(path: Path, sample_rate: int) -> Int16Waveform:
    """Read one file of any sample format as int16 [samples]; channels are averaged.

    A file with a higher sample rate is resampled. A file with a lower rate is refused: its upper band would be empty,
    and a network would recognise a class of such files by the empty band. A float file that exceeds full scale by less
    than 6 dB is clipped, with a warning.

    Raises:
        UserError: the file is not a readable WAV file, is empty or cut short, or has a lower sample rate; its values
            are not finite or far beyond full scale; or its channels cancel each other.
    """
    wave, clipped = _read(path, sample_rate)
    if clipped:
        console.warn(f"{path}: exceeds full scale and is clipped")
    return wave


def read_clips(
    paths: Sequence[Path],
    sample_rate: int,
    samples: int,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> Clips:
    """Read files in parallel, as clips of one length.

    Args:
        paths: the paths of the files, in the order of the clips.
        sample_rate: the sample rate of the clips; see :func:`read`.
        samples: length of a clip; see :func:`gatesearch.data.waveforms.fit_length`.
        skip_bad: whether to leave unusable files out instead of raising an error.
        progress: called with (done, total) now and then.

    Raises:
        UserError: a file is unusable and ``skip_bad`` is False.
    """

    def read_path(path: Path) -> Reading | UserError:
        try:
            return _read(path, sample_rate)
        except UserError as error:
            return error

    waves = np.empty((len(paths), samples), np.int16)
    indices: list[int] = []
    problems: list[str] = []
    remarkable: dict[str, list[str]] = {
        "files exceed full scale and are clipped": [],
        f"files are shorter than {SHORT_SHARE:.0%} of a clip and padded with zeros": [],
        f"files are longer than {LONG_SHARE:g} clips, and only their middle is used": [],
    }
    clipped, short, long = remarkable.values()
    with ThreadPoolExecutor(READER_THREADS) as pool:
        for index, result in enumerate(pool.map(read_path, paths)):
            if isinstance(result, UserError):
                if not skip_bad:
                    pool.shutdown(cancel_futures=True)
                    raise UserError(f"{result}; data.skip_bad_files=true leaves such files out")
                problems.append(str(result))
            else:
                name = str(paths[index])
                clipped.extend([name] if result.clipped else [])
                short.extend([name] if len(result.wave) < SHORT_SHARE * samples else [])
                long.extend([name] if len(result.wave) > LONG_SHARE * samples else [])
                waves[len(indices)] = fit_length(result.wave, samples)
                indices.append(index)
            if progress and ((index + 1) % REPORT_EVERY_FILES == 0 or index + 1 == len(paths)):
                progress(index + 1, len(paths))
    remarks = [describe_names(noun, names) for noun, names in remarkable.items() if names]
    return Clips(waves=waves[: len(indices)], indices=indices, problems=problems, remarks=remarks)


def _read(path: Path, sample_rate: int) -> Reading:
    """Read a WAV file, mix its channels and resample it; refuse empty, long and damaged files."""
    rate, values_count = _open_header(path)
    if rate < sample_rate:
        reason = f"is sampled at {rate} Hz, below data.sample_rate={sample_rate}; data.sample_rate={rate} reads it"
        raise UserError(f"{path}: {reason}")
    if not values_count:
        raise UserError(f"{path}: holds no samples")
    if values_count > MAX_VALUES:
        raise UserError(f"{path}: holds {values_count:,} samples; cut it into files of up to {MAX_VALUES:,}")
    check_header(path)
    import soundfile

    try:
        with path.open("rb") as file:
            values, _ = soundfile.read(file, dtype="float64", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise UserError(f"{path}: cannot be read as a WAV file ({_reason(error)})") from None
    if not len(values):
        raise UserError(f"{path}: holds no samples")
    wave, clipped = mix_channels(values, path)
    return Reading(resample(to_int16(wave), rate, sample_rate), clipped)


def _open_header(path: Path) -> tuple[int, int]:
    """Return the sample rate and the number of values in all channels, as the header of a file states them."""
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
    return int(info.samplerate), int(info.frames * info.channels)


def _reason(error: Exception) -> str:
    return str(error).rpartition(": ")[2].rstrip(".")
