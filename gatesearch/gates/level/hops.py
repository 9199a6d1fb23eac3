"""The level gate on a stream: at each hop, the statistic of the window that ends there, of new frames alone.

Frames follow each other from the start of the stream. A window's statistic is that of its last whole frames: as many as
a window holds. Where a hop is a whole number of frames, it equals :func:`window_statistic` of the window's samples to
the bit. Where it is not, frames begin up to one frame before the window does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatesearch.errors import DataError, unknown
from gatesearch.gates.level.statistics import MAX_FRAMES, STATISTICS

Array = NDArray[Any]

FRAME_S = 0.02
CHUNK_FRAMES = 4096  # that are widened to int64 at a time


def signal_frame(rate: float, window: int, hop: int) -> int:
    """Return the samples of a frame on a stream: 20 ms at most, and a whole number of them a hop where that can be.

    Args:
        rate: samples a second (Hz).
        window, hop: in samples.

    >>> signal_frame(16000, 16000, 640), signal_frame(16000, 16000, 400), signal_frame(16000, 16000, 160)
    (320, 200, 160)
    """
    longest = max(1, round(FRAME_S * rate))
    frame = max(1, hop // -(-hop // longest))
    return min(max(frame, -(-window // MAX_FRAMES)), window)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalFormat:
    """What the level gate reads at a hop of a stream.

    Args:
        statistic: ``"spread"``, ``"level"`` or ``"flatness"``.
        window, hop: in samples.
        frame: samples of a frame; a flatness has blocks of its own.

    Raises:
        UserError: an unknown statistic.
        DataError: a window shorter than a frame, or with too many of them.
    """

    statistic: str
    window: int
    hop: int
    frame: int

    def __post_init__(self) -> None:
        if self.statistic not in STATISTICS:
            raise unknown("level gate", "statistic", self.statistic, STATISTICS)
        if not 1 <= self.frames <= MAX_FRAMES:
            raise DataError(
                f"level: a window of {self.window} samples holds {self.frames} frames of {self.block}; "
                f"wanted: 1 to {MAX_FRAMES}"
            )

    @property
    def block(self) -> int:
        """Samples of a frame, or of a block of the flatness."""
        return STATISTICS[self.statistic].block or self.frame

    @property
    def frames(self) -> int:
        """Frames of a window."""
        return self.window // self.block


def signal_statistics(samples: Array, window: int, hop: int, frame: int) -> dict[str, Array]:
    """Return each statistic at each hop of a recording, int64 [hops]; empty where the stream is no sound.

    A statistic of which a window holds no whole frame, or too many, is left out.

    Args:
        samples: int16 [n] for sound.
        window, hop, frame: in samples.
    """
    if samples.ndim != 1 or samples.dtype != np.int16 or len(samples) < window:
        return {}
    hops = 1 + (len(samples) - window) // hop
    ends = window + hop * np.arange(hops)
    result, numbers = {}, {}
    for name, statistic in STATISTICS.items():
        block = statistic.block or frame
        count = window // block
        if not 1 <= count <= MAX_FRAMES:
            continue
        key = statistic.numbers, block
        if key not in numbers:
            numbers[key] = _read_frames(statistic.numbers, samples, block)
        last = ends // block
        total, squares = (_window_sums(values, last, count) for values in (numbers[key], numbers[key] ** 2))
        result[name] = statistic.combine(total, squares, count)
    return result


def _read_frames(numbers: Any, samples: Array, block: int) -> Array:
    """Return the number of every whole frame of a recording, int64 [frames]."""
    step = block * CHUNK_FRAMES
    whole = len(samples) // block * block
    return np.concatenate(
        [numbers(samples[start : min(start + step, whole)], block) for start in range(0, whole, step)]
    )


def _window_sums(values: Array, last: Array, count: int) -> Array:
    """Return the sum of ``count`` values before each index of ``last``."""
    sums = np.concatenate([[0], np.cumsum(values)])
    return sums[last] - sums[last - count]


@dataclass(slots=True)
class SignalStream:
    """The statistic of the window that ends with the newest sample, as samples come in; the reference of ``level.c``.

    It keeps the numbers of a window's frames and the samples of a frame that is not whole yet. Before the first sample
    there is nothing: :meth:`push` returns None until a window is full.

    Args:
        format: see :class:`SignalFormat`.

    >>> stream = SignalStream(SignalFormat(statistic="level", window=640, hop=320, frame=320))
    >>> loud = np.full(320, 8192, np.int16)
    >>> stream.push(loud), stream.push(loud)
    (None, 1397760)
    """

    format: SignalFormat
    _numbers: Array = field(init=False, repr=False)
    _rest: Array = field(init=False, repr=False)
    _read: int = field(init=False, default=0, repr=False)

    def __post_init__(self) -> None:
        self._numbers = np.zeros(0, np.int64)
        self._rest = np.zeros(0, np.int16)

    def push(self, samples: Array) -> int | None:
        """Take the next samples [n] of int16; return the statistic behind them, or None before the first window.

        Raises:
            DataError: samples of another type or shape.
        """
        if samples.ndim != 1 or samples.dtype != np.int16:
            raise DataError(f"level: samples are {samples.dtype} {list(samples.shape)}; wanted: int16 [n]")
        shape, statistic = self.format, STATISTICS[self.format.statistic]
        unread = np.concatenate([self._rest, samples])
        whole = len(unread) // shape.block * shape.block
        new = statistic.numbers(unread[:whole], shape.block) if whole else np.zeros(0, np.int64)
        self._numbers = np.concatenate([self._numbers, new])[-shape.frames :]
        self._rest = unread[whole:]
        self._read += len(samples)
        if self._read < shape.window:
            return None
        numbers = self._numbers
        return int(statistic.combine(numbers.sum(), (numbers * numbers).sum(), shape.frames))
