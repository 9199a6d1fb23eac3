"""The type of a data set of streams: windows to train on, and a labelled scene for each split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gatesearch.data.scenes import Scene
from gatesearch.data.types import Dataset
from gatesearch.errors import DataError


@dataclass(frozen=True, slots=True)
class StreamDataset(Dataset):
    """Windows that are cut from scenes, together with the scenes.

    Args:
        streams: a scene for ``"validation"`` and one for ``"test"``. If there is a scene for ``"train"``, each epoch
            draws new training windows from it.
        window_s: length of a window in seconds.
        hop_s: length of a hop in seconds: the time from one decision to the next.
        positive_share: share of the training windows with an event in them.
        inside: share of an event that has to lie in a window to make it a positive.

    Raises:
        DataError: the arguments of :class:`Dataset` are wrong, or a scene is missing, has no event, or has another
            sample rate than the windows.
    """

    streams: Mapping[str, Scene] = field(default_factory=dict, repr=False)
    window_s: float = 1.0
    hop_s: float = 0.04
    positive_share: float = 0.3
    inside: float = 1.0

    def __post_init__(self) -> None:
        # ``slots=True`` replaces the class by a new one, and super() without arguments would refer to the old class.
        Dataset.__post_init__(self)
        for name in ("validation", "test"):
            if name not in self.streams:
                raise DataError(f"data {self.name!r}: no scene to judge the {name} split on")
        for scene in self.streams.values():
            if not scene.events:
                raise DataError(f"data {self.name!r}: scene {scene.name!r} has no event, so no miss rate")
            if scene.rate != self.sample_rate:
                rates = f"{scene.rate:g} Hz, and the windows are at {self.sample_rate} Hz"
                raise DataError(f"data {self.name!r}: scene {scene.name!r} is at {rates}")
        if not 0 < self.hop_s <= self.window_s:
            raise DataError(f"data {self.name!r}: hop_s is {self.hop_s:g}; wanted: above 0, at most {self.window_s:g}")
