"""The settings of one gate that a tuning tries: combinations of threshold, smoothing and hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from gatesearch.runtime.detector import Array
from gatesearch.runtime.stream_gate import StreamGateSettings, hold_open, smooth_scores

SMOOTHING_CHOICES = (1, 3, 5, 10)
HOLD_CHOICES = (0, 2, 5, 10)
# Each threshold stops one of these shares of the hops whose window holds an event. Large shares are useful, too: with a
# hold, one passing hop of an event can be enough.
STOPPED_SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def find_thresholds(scores: Array, marks: Array) -> Mapping[int, tuple[float, ...]]:
    """Return the thresholds to try for each smoothing, in ascending order.

    A gate compares its threshold with the mean of its last scores. A threshold lies halfway between two such means with
    no other mean between them, so that rounding does not change a decision. The means are computed as if the gate ran
    at every hop.

    Args:
        scores: score of the gate at every hop, [hops].
        marks: whether the window of each hop holds an event, [hops]; at least one does.
    """
    every = np.ones(len(scores), bool)
    return {smoothing: _thresholds(smooth_scores(scores, every, smoothing), marks) for smoothing in SMOOTHING_CHOICES}


def gate_choices(
    scores: Array, runs: Array, thresholds: Mapping[int, tuple[float, ...]]
) -> Iterator[tuple[StreamGateSettings, Array]]:
    """Yield settings of a gate, each with the hops at which it is open, [hops].

    Args:
        scores: score of the gate at every hop, [hops].
        runs: whether the part before the gate runs at each hop, [hops].
        thresholds: thresholds to try for each smoothing, from :func:`find_thresholds`.
    """
    for smoothing, values in thresholds.items():
        means = smooth_scores(scores, runs, smoothing)
        for threshold in values:
            is_open = hold_open(means > threshold, runs, HOLD_CHOICES)
            for hold, hops in zip(HOLD_CHOICES, is_open, strict=True):
                yield StreamGateSettings(threshold=threshold, smoothing=smoothing, hold=hold), hops


def _thresholds(means: Array, marks: Array) -> tuple[float, ...]:
    levels, own = np.unique(means), np.sort(means[marks])
    indices = [min(int(share * len(own)), len(own) - 1) for share in STOPPED_SHARES]
    return tuple(dict.fromkeys(_below(levels, own[index]) for index in indices))


def _below(levels: Array, value: float) -> float:
    """Return the threshold halfway between a value and the next smaller level; value - 1 if there is none."""
    index = int(np.searchsorted(levels, value))
    if index == 0:
        return float(value - 1)
    middle = float(levels[index - 1] + (value - levels[index - 1]) / 2)
    return middle if middle < value else float(levels[index - 1])  # if no float lies between the two
