"""Labels windows of a stream by the event that lies inside them, or by the background that covers most of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from gatesearch.data.scenes.types import Scene

PARTIAL = -1  # label of a window that holds only a part of an event

Indices = npt.NDArray[np.int64]


def label_windows(
    scene: Scene, starts: Indices, length: int, classes: Sequence[str], inside: float, names: Mapping[str, str]
) -> Indices:
    """Return the label of each window, or ``PARTIAL``.

    A window has the class of an event if at least the share ``inside`` of the event lies in the window, or if the event
    fills the window. A window is partial if it holds a smaller share of an event, or enough of two events of different
    classes. Any other window has the negative class of the kind of background that covers most of the window.

    Args:
        scene: the labelled stream.
        starts: first sample of each window, [windows].
        length: length of a window in samples.
        classes: names of the classes; a label is an index into them.
        inside: share of an event that has to lie in a window, from above 0 to 1.
        names: negative class of each kind of background.
    """
    bounds = [(round(event.start_s * scene.rate), round(event.end_s * scene.rate)) for event in scene.events]
    event_starts = np.array([start for start, _ in bounds], np.int64)
    event_ends = np.array([end for _, end in bounds], np.int64)
    # The events with indices from ``first`` to ``last`` - 1 overlap a window.
    first = np.searchsorted(event_ends, starts, side="right")
    last = np.searchsorted(event_starts, starts + length, side="left")
    labels = label_backgrounds(scene, starts, length, {kind: classes.index(name) for kind, name in names.items()})
    for index in np.flatnonzero(last > first):
        start = int(starts[index])
        own: set[int] = set()
        for number in range(int(first[index]), int(last[index])):
            event_start, event_end = bounds[number]
            overlap = min(event_end, start + length) - max(event_start, start)
            is_inside = overlap >= needed_samples(event_end - event_start, length, inside)
            own.add(classes.index(scene.events[number].label) if is_inside else PARTIAL)
        labels[index] = own.pop() if len(own) == 1 else PARTIAL
    return labels


def needed_samples(event: int, window: int, inside: float) -> int:
    """Return how many samples of an event a window has to hold to get the event's class.

    >>> needed_samples(800, 1000, 1.0), needed_samples(800, 1000, 0.5), needed_samples(5000, 1000, 1.0)
    (800, 400, 1000)
    """
    return min(int(np.ceil(inside * event - 1e-9)), window)


def label_backgrounds(scene: Scene, starts: Indices, length: int, index_of: Mapping[str, int]) -> Indices:
    """Return a number for each window, which belongs to the kind of background that covers most of the window.

    If two kinds cover equally much, the kind that comes first in the scene decides. A window without background, which
    events fill, gets the first number.

    Args:
        scene: the labelled stream.
        starts: first sample of each window, [windows].
        length: length of a window in samples.
        index_of: the number of each kind of background in the scene.
    """
    kinds = list(dict.fromkeys(segment.kind for segment in scene.segments))
    if not kinds:
        return np.full(len(starts), min(index_of.values(), default=0), np.int64)
    coverage = np.zeros((len(kinds), len(starts)))
    for segment in scene.segments:
        begin, end = segment.start_s * scene.rate, segment.end_s * scene.rate
        overlap = np.minimum(starts + length, end) - np.maximum(starts, begin)
        coverage[kinds.index(segment.kind)] += np.maximum(overlap, 0)
    numbers = np.array([index_of[kind] for kind in kinds], np.int64)
    return numbers[coverage.argmax(axis=0)]
