"""WAV files to int16 samples; errors name the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from gatesearch._lib.plugins import need
from gatesearch.data.waveforms import Int16Waveform, fit_length, resample, to_int16
from gatesearch.errors import UserError

Progress = Callable[[int, int], None]
READER_THREADS = 4  # reading waits for the disk more than for the processor
REPORT_EVERY_FILES = 500


def sample_rate(path: Path) -> int:
    """Return the sample rate of a file.

    Raises:
        UserError: not a readable WAV.
    """
    need("data.root", "soundfile")
    import soundfile

    try:
        return int(soundfile.info(path).samplerate)
    except (soundfile.SoundFileError, OSError) as error:
        reason = str(error).rpartition(": ")[2].rstrip(".")
        raise UserError(f"{path}: cannot be read as a WAV file ({reason})") from None


def read(path: Path, sample_rate: int) -> Int16Waveform:
    """Read one file of any sample format as int16 [samples]; channels are averaged.

    Files that were sampled faster are resampled. Those that were sampled slower are not: nothing is in their upper
    band, and a network would tell a class of such files by that.

    Raises:
        UserError: not a readable WAV, empty, or of a lower sample rate.
    """
    need("data.root", "soundfile")
    import soundfile

    try:
        values, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        reason = str(error).rpartition(": ")[2].rstrip(".")
        raise UserError(f"{path}: cannot be read as a WAV file ({reason})") from None
    if rate < sample_rate:
        reason = f"is sampled at {rate} Hz, below data.sample_rate={sample_rate}; data.sample_rate={rate} reads it"
        raise UserError(f"{path}: {reason}")
    if not len(values):
        raise UserError(f"{path}: holds no samples")
    return resample(to_int16(values.mean(axis=1)), rate, sample_rate)


def read_clips(
    paths: Sequence[Path],
    sample_rate: int,
    samples: int,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> tuple[Int16Waveform, list[int], list[str]]:
    """Read files in parallel.

    Args:
        paths: of the files, in the order of the clips.
        sample_rate: of the clips; see :func:`read`.
        samples: length of a clip; see :func:`fit_length`.
        skip_bad: leave unusable files out instead of raising.
        progress: called with (done, total) now and then.

    Returns:
        clips [N, samples], the index in ``paths`` of each, and one message a file left out.

    Raises:
        UserError: the first unusable file, unless ``skip_bad``.
    """

    def read_clip(path: Path) -> Int16Waveform | UserError:
        try:
            return fit_length(read(path, sample_rate), samples)
        except UserError as error:
            return error

    clips = np.empty((len(paths), samples), np.int16)
    indices: list[int] = []
    bad: list[str] = []
    with ThreadPoolExecutor(READER_THREADS) as pool:
        for index, result in enumerate(pool.map(read_clip, paths)):
            if isinstance(result, UserError):
                if not skip_bad:
                    pool.shutdown(cancel_futures=True)
                    raise UserError(f"{result}; data.skip_bad_files=true leaves such files out")
                bad.append(str(result))
            else:
                clips[len(indices)] = result
                indices.append(index)
            if progress and ((index + 1) % REPORT_EVERY_FILES == 0 or index + 1 == len(paths)):
                progress(index + 1, len(paths))
    return clips[: len(indices)], indices, bad
