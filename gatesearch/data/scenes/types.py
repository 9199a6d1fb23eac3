"""The types of a scene, a labelled stream: its outline, and the scene with its samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from gatesearch.errors import DataError
from gatesearch.metrics.streams.events import Background, Event

SECONDS_PER_HOUR = 3600.0

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
        events: the events in the order of their starts.
        segments: stretches of one kind of background, in the order of their starts.
        split: train, validation or test; None where the split is not fixed.
        recordings: ids of the recordings from which the scene was made.
        speakers: ids of the people who speak or move in the scene.
        digests: the name of each clip in the scene, by the clip's digest.
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
        if len(self.samples) != self.length:
            raise DataError(f"scene {self.name!r}: length is {self.length} but there are {len(self.samples)} samples")
