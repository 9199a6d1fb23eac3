"""The level gate on a stream: the statistic of the window that ends at each hop.

A hop is the time from one decision to the next. A statistic combines one number for each frame;
:mod:`gatesearch.gates.level.statistics` defines these numbers. At a hop, only the numbers of new frames are computed.
Frames follow each other from the start of the stream. A window's statistic uses the last whole frames, as many as fit
into a window. If a hop is a whole number of frames, the statistic equals :func:`window_statistic` of the window's
samples bit for bit. Otherwise the first of these frames may start before the window does, by up to one frame.
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
CHUNK_FRAMES = 4096  # number of frames that are converted to int64 at a time


def signal_frame(rate: float, window: int, hop: int) -> int:
    """Return the length of a frame on a stream, in samples.

    A frame lasts 20 ms at most, and a hop is a whole number of frames if possible. The frame is longer only if a window
    would otherwise hold more than ``MAX_FRAMES`` frames.

    Args:
        rate: samples per second (Hz).
        window: length of a window in samples.
        hop: length of a hop in samples.

    >>> signal_frame(16000, 16000, 640), signal_frame(16000, 16000, 400), signal_frame(16000, 16000, 160)
    (320, 200, 160)
    """
    longest = max(1, round(FRAME_S * rate))
    frame = max(1, hop // -(-hop // longest))
    return min(max(frame, -(-window // MAX_FRAMES)), window)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalFormat:
    """The statistic of a level gate on a stream, with the lengths of window, hop and frame.

    Args:
        statistic: ``"spread"``, ``"level"`` or ``"flatness"``.
        window: length of a window in samples.
        hop: length of a hop in samples.
        frame: length of a frame in samples; flatness has blocks of its own length instead.

    Raises:
        UserError: the statistic is unknown.
        DataError: a window holds no whole frame, or too many.
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

    @classmethod
    def on_stream(cls, statistic: str, rate: float, window: int, hop: int) -> SignalFormat:
        """Return the format of a statistic on a stream, with the length of a frame that :func:`signal_frame` chooses.

        >>> SignalFormat.on_stream("level", rate=16000, window=16000, hop=640).frame
        320
        """
        return cls(statistic=statistic, window=window, hop=hop, frame=signal_frame(rate, window, hop))

    @property
    def block(self) -> int:
        """Length of a frame in samples, or of a block of the flatness."""
        return STATISTICS[self.statistic].block or self.frame

    @property
    def frames(self) -> int:
        """Number of frames in a window."""
        return self.window // self.block


def signal_statistics(samples: Array, window: int, hop: int, frame: int) -> dict[str, Array]:
    """Return each statistic at each hop of a recording, by name, int64 [hops].

    The result is empty if the recording is no sound or is shorter than a window. It lacks a statistic if a window holds
    no whole frame of this statistic, or too many.

    Args:
        samples: the recording; int16 [n] if it is sound.
        window: length of a window in samples.
        hop: length of a hop in samples.
        frame: length of a frame in samples.
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
    """Return the numbers of all whole frames of a recording, int64 [frames]."""
    step = block * CHUNK_FRAMES
    whole = len(samples) // block * block
    return np.concatenate(
        [numbers(samples[start : min(start + step, whole)], block) for start in range(0, whole, step)]
    )


def _window_sums(values: Array, last: Array, count: int) -> Array:
    """Return, for each index in ``last``, the sum of the ``count`` values before it."""
    sums = np.concatenate([[0], np.cumsum(values)])
    return sums[last] - sums[last - count]


@dataclass(slots=True)
class SignalStream:
    """Computes the statistic of the newest window while samples arrive; the reference for the C kernel ``level.c``.

    The object stores the numbers of a window's frames, and the samples of a frame that is not complete yet.
    :meth:`push` returns None until the first window is complete.

    Args:
        format: the statistic and its lengths.

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
        """Add the next samples, int16 [n]; return the statistic of the newest window, or None before the first.

        Raises:
            DataError: the samples have another type or shape.
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
