"""The contents of a labelled stream as values: events, detections and kinds of background."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gatesearch.errors import DataError


@dataclass(frozen=True, slots=True)
class Event:
    """A positive in a labelled stream.

    Args:
        label: class of the event.
        start_s: start of the event in seconds from the start of the stream.
        end_s: end of the event in seconds from the start of the stream.
        snr_db: level of the event over the background in decibels; None if it is unknown.
        background: kind of background at the event, such as ``"kitchen"``; None if it is unknown.

    Raises:
        DataError: a time or the level is not finite, or the event ends before it starts.

    >>> Event("stop", 3.0, 2.0)
    Traceback (most recent call last):
    ...
    gatesearch.errors.DataError: event 'stop': it starts at 3.0 s and ends at 2.0 s
    """

    label: str
    start_s: float
    end_s: float
    snr_db: float | None = None
    background: str | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start_s) and math.isfinite(self.end_s) and self.start_s <= self.end_s):
            raise DataError(f"event {self.label!r}: it starts at {self.start_s} s and ends at {self.end_s} s")
        if self.snr_db is not None and not math.isfinite(self.snr_db):
            raise DataError(f"event {self.label!r}: snr_db is {self.snr_db}; wanted: a finite number or None")


@dataclass(frozen=True, slots=True)
class Detection:
    """A class at a time, as a detector reports it.

    Args:
        label: the detected class.
        time_s: end of the window of the decision, in seconds from the start of the stream.
        confidence: confidence of the detection, on the scale of the detector's threshold.

    >>> Detection("stop", 2.4, 0.93)
    Detection(label='stop', time_s=2.4, confidence=0.93)
    """

    label: str
    time_s: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Background:
    """A stretch of a stream with one kind of background.

    Args:
        kind: kind of background, such as ``"quiet"``, ``"kitchen"`` or ``"speech"``.
        start_s: start of the stretch in seconds from the start of the stream.
        end_s: end of the stretch in seconds from the start of the stream.
    """

    kind: str
    start_s: float
    end_s: float
