"""Draws labelled windows of a scene to train on, without windows that hold too small a part of an event.

A scene is a labelled stream.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gatesearch import errors
from gatesearch.data.scenes.types import Samples, Scene
from gatesearch.data.scenes.window_labels import PARTIAL, Indices, label_windows, needed_samples
from gatesearch.errors import UserError

MAX_ROUNDS = 50  # largest number of rounds; a round replaces the windows that the round before left out


@dataclass(frozen=True)
class Windows:
    """Windows of one scene, without a copy of their samples.

    Args:
        scene: the scene from which they are cut.
        length: number of samples in a window.
        starts: first sample of each window, int64 [windows].
        labels: index of the class of each window, int64 [windows].
        classes: names of the classes.
        left_out: number of drawn windows that were left out: they hold a part of an event or lie outside the scene.
    """

    scene: Scene = field(repr=False)
    length: int
    starts: Indices = field(repr=False)
    labels: Indices = field(repr=False)
    classes: tuple[str, ...]
    left_out: int

    def __len__(self) -> int:
        return len(self.starts)

    def read(self, indices: Sequence[int] | Indices | slice = slice(None)) -> Samples:
        """Return the samples of some windows, [windows, length, ...]; only these are copied."""
        shape = (0, self.length, *self.scene.samples.shape[1:])
        cuts = [self.scene.samples[start : start + self.length] for start in self.starts[indices]]
        return np.stack(cuts) if cuts else np.empty(shape, self.scene.samples.dtype)


def draw_windows(
    scene: Scene,
    window_s: float,
    count: int,
    seed: int,
    *,
    positive_share: float = 0.5,
    inside: float = 1.0,
    negatives: Mapping[str, str] | None = None,
    classes: Sequence[str] | None = None,
) -> Windows:
    """Draw windows at random offsets; the same arguments give the same windows.

    Windows that hold a smaller part of an event than ``inside`` are counted and not returned, because both answers of a
    detector may be right for them.

    Args:
        scene: the scene of the training split.
        window_s: length of a window in seconds.
        count: number of windows.
        seed: the seed of the offsets.
        positive_share: share of the windows with an event in them; events take turns.
        inside: share of an event that has to lie in a window, above 0 and up to 1. An event that is longer than the
            window has to fill the window.
        negatives: negative class of each kind of background; None makes each kind a class with the kind's name.
        classes: order of the classes; None for the classes of the scene, then the negative classes.

    Raises:
        UserError: a window is longer than the scene, a share is out of range, a class is unknown, there is no room for
            windows without an event, or there is no event for positives.

    >>> from gatesearch.metrics.streams.events import Background, Event
    >>> yes, quiet = Event("yes", 4.0, 4.5), Background("quiet", 0, 10)
    >>> samples = np.zeros(1000, np.int16)
    >>> scene = Scene(name="toy", rate=100, length=1000, classes=("yes",), events=(yes,), segments=(quiet,),
    ...               samples=samples)
    >>> windows = draw_windows(scene, 1.0, count=4, seed=0)
    >>> windows.labels.tolist(), windows.classes, windows.read().shape
    ([0, 0, 1, 1], ('yes', 'quiet'), (4, 100))
    """
    length = window_length(scene, window_s)
    if not 0 < inside <= 1 or not 0 <= positive_share <= 1:
        raise UserError(f"windows: inside is {inside}, positive_share {positive_share}; wanted: shares, inside above 0")
    names, labels = name_classes(scene, negatives, classes)
    positives = round(positive_share * count)
    rng = np.random.default_rng([seed, 5])
    highest = scene.length - length

    def draw_positive(number: int) -> Indices:
        order = np.concatenate([rng.permutation(len(scene.events)) for _ in range(-(-number // len(scene.events)))])
        starts = []
        for event in (scene.events[index] for index in order[:number]):
            first, end = round(event.start_s * scene.rate), round(event.end_s * scene.rate)
            needed = needed_samples(end - first, length, inside)
            # Windows that start from low to high hold enough of the event and lie inside the scene.
            low, high = max(0, first + needed - length), min(highest, end - needed)
            starts.append(int(rng.integers(low, high + 1)) if low <= high else min(max(low, 0), highest))
        return np.array(starts, np.int64)

    def draw_any(number: int) -> Indices:
        return rng.integers(0, highest + 1, number)

    # First the positives are drawn, then the negatives. Windows with a wrong label are drawn again.
    parts, left_out = [], 0
    event_labels = np.array([labels.index(label) for label in scene.classes])
    for target, draw, is_event in ((positives, draw_positive, True), (count - positives, draw_any, False)):
        if target and is_event and not scene.events:
            raise UserError(f"scene {scene.name!r} holds no events to draw windows of")
        chosen: list[tuple[Indices, Indices]] = []
        missing = target
        for _ in range(MAX_ROUNDS):
            if not missing:
                break
            starts = draw(missing)
            own = label_windows(scene, starts, length, labels, inside, names)
            fits = np.isin(own, event_labels) if is_event else ~np.isin(own, [*event_labels, PARTIAL])
            left_out += int((own == PARTIAL).sum())
            chosen.append((starts[fits], own[fits]))
            missing -= int(fits.sum())
        if missing:
            noun = "with a whole event" if is_event else "without an event"
            raise UserError(f"scene {scene.name!r}: too few windows of {window_s:g} s {noun}; {missing} are missing")
        parts += chosen
    starts = np.concatenate([np.empty(0, np.int64), *(starts for starts, _ in parts)])
    own = np.concatenate([np.empty(0, np.int64), *(own for _, own in parts)])
    return Windows(scene=scene, length=length, starts=starts, labels=own, classes=labels, left_out=left_out)


def mine_windows(
    scene: Scene,
    ends_s: Sequence[float],
    window_s: float,
    seed: int,
    *,
    copies: int = 1,
    jitter_s: float = 0.1,
    negatives: Mapping[str, str] | None = None,
    classes: Sequence[str] | None = None,
) -> Windows:
    """Return hard negatives: windows that a network accepted falsely, and windows around them.

    A window that holds any part of an event, or lies outside the scene, is left out and counted.

    Args:
        scene: the scene of the training split on which the network ran.
        ends_s: end of each window that the network accepted falsely, as a detection's ``time_s``.
        window_s: length of a window in seconds.
        seed: the seed of the offsets.
        copies: number of windows for each false accept; the first is the accepted window, the others lie up to
            ``jitter_s`` away from it.
        jitter_s: largest offset in seconds.
        negatives: negative class of each kind of background; None makes each kind a class with the kind's name.
        classes: order of the classes; None for the classes of the scene, then the negative classes.

    Raises:
        UserError: a window is longer than the scene, a time is not finite, or a class is unknown.
    """
    length = window_length(scene, window_s)
    names, labels = name_classes(scene, negatives, classes)
    ends = np.asarray(ends_s, np.float64)
    if ends.ndim != 1 or not np.isfinite(ends).all():
        raise UserError("mine_windows: ends_s holds a value that is not a time; wanted: finite seconds [windows]")
    rng = np.random.default_rng([seed, 6])
    offsets = rng.uniform(-jitter_s, jitter_s, (len(ends), copies))
    offsets[:, :1] = 0.0
    starts = np.rint((ends[:, None] + offsets) * scene.rate).astype(np.int64).reshape(-1) - length
    is_within = (starts >= 0) & (starts + length <= scene.length)
    event_labels = [labels.index(label) for label in scene.classes]
    # A window with even one sample of an event is no negative, so the share that has to lie inside is minimal.
    own = label_windows(scene, starts, length, labels, 1e-12, names)
    fits = is_within & ~np.isin(own, [*event_labels, PARTIAL])
    return Windows(
        scene=scene,
        length=length,
        starts=starts[fits],
        labels=own[fits],
        classes=labels,
        left_out=int((~fits).sum()),
    )


def name_classes(
    scene: Scene, negatives: Mapping[str, str] | None, classes: Sequence[str] | None
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the negative class of each kind of background, and the classes in the order of their labels.

    Raises:
        UserError: a kind of background has no class, or a class is not among ``classes``.
    """
    kinds = list(dict.fromkeys(segment.kind for segment in scene.segments))
    names = dict(negatives) if negatives is not None else {kind: kind for kind in kinds}
    for kind in kinds:
        if kind not in names:
            raise errors.unknown(f"scene {scene.name!r}: negatives", "background", kind, names)
    labels = (
        tuple(dict.fromkeys((*scene.classes, *(names[kind] for kind in kinds)))) if classes is None else tuple(classes)
    )
    for label in (*scene.classes, *(names[kind] for kind in kinds)):
        if label not in labels:
            raise errors.unknown(f"scene {scene.name!r}", "class", label, labels)
    return names, labels


def window_length(scene: Scene, window_s: float) -> int:
    """Return the number of samples in a window.

    Raises:
        UserError: the window is shorter than a sample or longer than the scene.
    """
    length = round(window_s * scene.rate) if math.isfinite(window_s) else 0
    if not 1 <= length <= scene.length:
        raise UserError(f"scene {scene.name!r}: a window of {window_s:g} s; wanted: up to its {scene.seconds:g} s")
    return length
