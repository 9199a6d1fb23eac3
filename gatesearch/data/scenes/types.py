"""What a scene is to the rest of gatesearch: a labelled stream in memory."""

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
    """What is to be said of a scene without its samples: enough to check it and to print it.

    Args:
        name: for tables and errors.
        rate: samples a second (Hz).
        length: samples of the whole scene.
        classes: what events may be.
        events: by their start.
        segments: stretches of one kind of background, by their start.
        split: train, validation or test; None where it is not fixed.
        recordings: ids of the recordings that the scene was made from.
        speakers: ids of the people who speak or move in it.
        digests: of the clips that it was made from, with their names.
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
        clipped: how many samples of the mix exceeded full scale and were limited to it.

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
