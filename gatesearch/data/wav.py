"""WAV files to int16 samples; errors name the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import gcd
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from gatesearch._lib.plugins import need
from gatesearch.errors import UserError

Waveform = npt.NDArray[np.int16]  # [samples], one channel
Sample = TypeVar("Sample", bound=np.generic)
Progress = Callable[[int, int], None]
READER_THREADS = 4  # reading waits for the disk more than for the processor
REPORT_EVERY_FILES = 500


def fit_length(wave: npt.NDArray[Sample], samples: int) -> npt.NDArray[Sample]:
    """Crop or pad with zeros, the same at both ends, [any] -> [samples].

    >>> short, long = np.array([1, 2, 3], np.int16), np.arange(5, dtype=np.int16)
    >>> fit_length(short, 5).tolist(), fit_length(long, 3).tolist()
    ([0, 1, 2, 3, 0], [1, 2, 3])
    """
    spare = samples - len(wave)
    if spare < 0:
        return wave[-spare // 2 : -spare // 2 + samples]
    return np.pad(wave, (spare // 2, spare - spare // 2))


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


def resample(wave: Waveform, rate: int, new_rate: int) -> Waveform:
    """Return a wave at another sample rate.

    >>> len(resample(np.zeros(1600, np.int16), 16000, 8000))
    800
    """
    if rate == new_rate:
        return wave
    from scipy import signal  # takes its time

    shared = gcd(rate, new_rate)
    values = signal.resample_poly(wave.astype(np.float64), new_rate // shared, rate // shared)
    return np.clip(np.rint(values), -32768, 32767).astype(np.int16)


def read(path: Path, sample_rate: int) -> Waveform:
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
    wave = np.clip(np.rint(values.mean(axis=1) * 32768), -32768, 32767).astype(np.int16)
    return resample(wave, rate, sample_rate)


def read_clips(
    paths: Sequence[Path],
    sample_rate: int,
    samples: int,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> tuple[Waveform, list[int], list[str]]:
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

    def read_clip(path: Path) -> Waveform | UserError:
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
