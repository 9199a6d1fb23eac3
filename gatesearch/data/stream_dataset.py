"""The type of a data set of streams: windows to train on, and a labelled scene for each split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gatesearch.data.scenes import Scene, check_scenes
from gatesearch.data.scenes.sources import digest_samples
from gatesearch.data.types import Dataset
from gatesearch.errors import DataError

ROUNDING_SAMPLES = 1e-6  # largest distance of a hop from a whole number of samples


@dataclass(frozen=True, slots=True)
class StreamDataset(Dataset):
    """Windows that are cut from scenes, together with the scenes.

    Args:
        streams: a scene for ``"validation"`` and one for ``"test"``. If there is a scene for ``"train"``, each epoch
            draws new training windows from it.
        window_s: length of a window in seconds.
        hop_s: length of a hop in seconds: the time from one decision to the next.
        positive_share: share of the training windows that contain an event.
        inside: share of an event that has to lie in a window, so that the window is a positive.

    Raises:
        DataError: the arguments of :class:`Dataset` are wrong; a scene is missing, has no event, or has another sample
            rate or form than the windows; :func:`gatesearch.data.scenes.check_scenes` refuses the scenes, for example
            because two splits share a recording; or a hop is not a whole number of samples.
    """

    streams: Mapping[str, Scene] = field(default_factory=dict, repr=False)
    window_s: float = 1.0
    hop_s: float = 0.04
    positive_share: float = 0.3
    inside: float = 1.0

    def __post_init__(self) -> None:
        # ``slots=True`` replaces the class by a new one, and super() without arguments would refer to the old class.
        Dataset.__post_init__(self)
        where = f"data {self.name!r}"
        for name in ("validation", "test"):
            if name not in self.streams:
                raise DataError(f"{where}: no scene to judge the {name} split on")
        for scene in self.streams.values():
            if not scene.events:
                raise DataError(f"{where}: scene {scene.name!r} has no event, so no miss rate")
            if scene.rate != self.sample_rate:
                rates = f"{scene.rate:g} Hz, and the windows are at {self.sample_rate} Hz"
                raise DataError(f"{where}: scene {scene.name!r} is at {rates}")
            _check_samples(where, scene, self.window_s, tuple(self.train.inputs.shape[1:]))
        if not 0 < self.hop_s <= self.window_s:
            raise DataError(f"{where}: hop_s is {self.hop_s:g}; wanted: above 0, at most {self.window_s:g}")
        hop = self.hop_s * (self.sample_rate or 0)
        if round(hop) < 1 or abs(hop - round(hop)) > ROUNDING_SAMPLES:
            near = max(1, round(hop)) / (self.sample_rate or 1)
            samples = f"{hop:g} samples at {self.sample_rate} Hz"
            raise DataError(f"{where}: hop_s is {self.hop_s:g}, which is {samples}; nearest: {near:g}")
        check_streams(self.streams, [name for name, wakes in zip(self.classes, self.positive, strict=True) if wakes])
        if bool(self.is_positive(self.train.labels).all()):
            raise DataError(
                f"{where}: all {len(self.train)} windows of the train split have an event; wanted: some without one, "
                f"by a positive_share below {self.positive_share:g}"
            )

    @property
    def has_drawn_windows(self) -> bool:
        """True: samples are windows at random offsets of a stream."""
        return True


def check_streams(streams: Mapping[str, Scene], classes: Sequence[str]) -> None:
    """Check the scenes of a data set together; each scene counts as a scene of the split under which it is listed.

    Args:
        streams: a scene for each split, whatever split the scene itself names.
        classes: classes that events may have.

    Raises:
        DataError: see :func:`gatesearch.data.scenes.check_scenes`.
    """
    outlines = []
    for split, scene in streams.items():
        # A scene that a program builds has no digests of clips; its whole sound then stands for them.
        digests = scene.digests or {digest_samples(scene.samples): scene.name}
        outlines.append(replace(scene, split=split, digests=digests))
    check_scenes(outlines, classes)
    types = {split: scene.samples.dtype for split, scene in streams.items()}
    if len(set(types.values())) > 1:
        pairs = ", ".join(f"{kind} for {split}" for split, kind in types.items())
        raise DataError(f"scenes have samples of different types ({pairs}), whose full scales differ; wanted: one type")


def _check_samples(where: str, scene: Scene, window_s: float, window: tuple[int, ...]) -> None:
    """Check that a scene has finite numbers, of the form of the windows that are cut from it."""
    samples = scene.samples
    if samples.dtype.kind not in "iuf":
        raise DataError(f"{where}: scene {scene.name!r} has samples of type {samples.dtype}; wanted: numbers")
    form = (round(window_s * scene.rate), *samples.shape[1:])
    if form != window:
        raise DataError(
            f"{where}: a window of {window_s:g} s of scene {scene.name!r} has the shape {list(form)}, and the windows "
            f"have {list(window)}"
        )
    if np.array_equal(samples.min(axis=0), samples.max(axis=0)):
        value = "silent" if not samples[0].any() else "constant"
        raise DataError(
            f"{where}: scene {scene.name!r} is {value} for all of its {scene.seconds:g} s; wanted: a signal"
        )
    if samples.dtype.kind == "f" and not np.isfinite(samples).all():
        first = int(np.flatnonzero(~np.isfinite(samples).reshape(len(samples), -1).all(1))[0])
        raise DataError(f"{where}: scene {scene.name!r}: sample {first} is not finite, at {first / scene.rate:g} s")
