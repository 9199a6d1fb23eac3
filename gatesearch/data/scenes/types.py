"""The types of a scene, a labelled stream: its outline, and the scene with its samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gatesearch.errors import DataError
from gatesearch.metrics.streams.events import Background, Event

SECONDS_PER_HOUR = 3600.0
UNLABELLED = "background"  # kind of background where a scene names none

Samples = npt.NDArray[Any]
"""A stream: int16 [n] for sound, float32 [n, channels] for motion, [n, ...] for frames of images."""


@dataclass(frozen=True, kw_only=True)
class Outline:
    """A scene without its samples, which is enough to check it and to print its contents.

    Args:
        name: the name of the scene, for tables and errors.
        rate: samples a second (Hz).
        length: number of samples of the whole scene.
        classes: the classes that events may have.
        events: the events, which are stored in the order of their starts.
        segments: stretches of one kind of background. They are stored in the order of their starts, and a stretch that
            none of them covers gets the kind ``UNLABELLED``.
        split: train, validation or test; None where the split is not fixed.
        recordings: ids of the recordings from which the scene was made.
        speakers: ids of the people who speak or move in the scene.
        digests: the name of each clip in the scene, by the clip's digest.

    Raises:
        DataError: there are no samples, or the rate is no number above 0.
    """

    name: str
    rate: float
    length: int
    classes: tuple[str, ...]
    events: tuple[Event, ...] = field(repr=False)
    segments: tuple[Background, ...] = field(default=(), repr=False)
    split: str | None = None
    recordings: frozenset[str] = field(default=frozenset(), repr=False)
    speakers: frozenset[str] = field(default=frozenset(), repr=False)
    digests: dict[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rate) and self.rate > 0 and self.length > 0):
            raise DataError(
                f"scene {self.name!r}: {self.length} samples at {self.rate} Hz; wanted: more than 0 of both"
            )
        # Windows are labelled by a binary search over the events, so a program may list them in any order.
        object.__setattr__(self, "events", tuple(sorted(self.events, key=lambda event: (event.start_s, event.end_s))))
        filled = fill_gaps(self.segments, self.events, self.seconds, self.rate, UNLABELLED)
        object.__setattr__(self, "segments", filled)

    @property
    def seconds(self) -> float:
        """Length of the scene in seconds."""
        return self.length / self.rate

    @property
    def hours(self) -> float:
        """Length of the scene in hours, the unit of false accepts."""
        return self.seconds / SECONDS_PER_HOUR


@dataclass(frozen=True, kw_only=True)
class Scene(Outline):
    """A labelled stream in memory.

    Args:
        samples: int16 [length] for sound, float32 [length, channels] for motion, [length, ...] for frames of images.
        clipped: number of samples of the mix that exceeded full scale and were limited to it.

    Raises:
        DataError: ``length`` is not the number of samples.

    >>> import numpy as np
    >>> silence, event = np.zeros(32000, np.int16), Event("yes", 0.5, 1.0)
    >>> Scene(name="toy", rate=16000, length=32000, classes=("yes",), events=(event,), samples=silence).seconds
    2.0
    """

    samples: Samples = field(repr=False)
    clipped: int = 0

    def __post_init__(self) -> None:
        Outline.__post_init__(self)
        if len(self.samples) != self.length:
            raise DataError(f"scene {self.name!r}: length is {self.length} but there are {len(self.samples)} samples")


def fill_gaps(
    segments: Sequence[Background], events: Sequence[Event], seconds: float, rate: float, kind: str
) -> tuple[Background, ...]:
    """Return segments in the order of their starts, with a segment of ``kind`` in each gap that they leave.

    Without it, what no segment covers would count as one of the other kinds.

    Args:
        segments: stretches of a scene; they may overlap.
        events: the events of the scene. A gap that they fill stays: an activity, for example, has no background.
        seconds: length of the scene in seconds.
        rate: samples a second; a gap of less than one sample comes from rounding.
        kind: kind of background of the gaps.

    >>> segments = [Background("noise", 3.0, 6.0), Background("speech", 1.0, 4.0)]
    >>> [(each.kind, each.start_s, each.end_s) for each in fill_gaps(segments, [], 6.0, 100.0, "background")]
    [('background', 0.0, 1.0), ('speech', 1.0, 4.0), ('noise', 3.0, 6.0)]
    """
    ordered = sorted(segments, key=lambda segment: segment.start_s)
    starts_s, ends_s = np.array([(each.start_s, each.end_s) for each in events]).reshape(-1, 2).T
    filled, end_s = [], 0.0
    for segment in (*ordered, None):
        start_s = seconds if segment is None else segment.start_s
        in_events_s = np.maximum(np.minimum(ends_s, start_s) - np.maximum(starts_s, end_s), 0.0).sum()
        if (start_s - end_s - in_events_s) * rate >= 1:
            filled.append(Background(kind, end_s, start_s))
        if segment is not None:
            filled.append(segment)
            end_s = max(end_s, segment.end_s)
    return tuple(filled)
