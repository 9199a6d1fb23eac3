"""Reads WAV files as int16 samples, one file or many in parallel, with errors that name the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gatesearch._lib import console
from gatesearch.data.wav_blocks import open_wav
from gatesearch.data.wav_files import describe_names
from gatesearch.data.waveforms import Int16Waveform, fit_length
from gatesearch.errors import UserError

Progress = Callable[[int, int], None]
READER_THREADS = 4  # reading waits for the disk more than for the processor
REPORT_EVERY_FILES = 500
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


def read(path: Path, sample_rate: int) -> Int16Waveform:
    """Read one file as int16 [samples]; see :func:`gatesearch.data.wav_blocks.open_wav`.

    A float file that exceeds full scale by less than 6 dB is clipped, with a warning.

    Raises:
        UserError: the file cannot be read, or its samples cannot be mixed to one waveform.
    """
    blocks = open_wav(path, sample_rate, MAX_VALUES)
    if blocks.clipped:
        console.warn(blocks.describe_clipping())
    return blocks.join()


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
    blocks = open_wav(path, sample_rate, MAX_VALUES)
    return Reading(blocks.join(), blocks.clipped)
