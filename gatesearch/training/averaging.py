"""Computes the decay of the weights' moving average; a training returns this average as its result."""

from __future__ import annotations

MIN_WINDOWS = 10  # the average reaches back over at most 1 / MIN_WINDOWS of a training


def averaging_decay(decay: float, steps: int) -> float:
    """Return the decay d of the moving average in a training of ``steps`` steps.

    After each step, the average a of the weights w becomes d a + (1 - d) w. The average covers a window of about
    1 / (1 - d) steps. It starts from the weights after the first step, which have a share d^(steps - 1) in the result.

    In a training shorter than ten windows, this share would be large. So such a training gets a window of a tenth of
    its steps. The weights after the first step then have a share below exp(-10) in the result. All weights of the first
    half of the training, where the learning rate is high, have together a share below exp(-5). A longer training uses
    the decay of its recipe.

    Args:
        decay: d for a long training, in [0, 1).
        steps: number of optimiser steps of the whole training.

    >>> averaging_decay(0.99, 2000), averaging_decay(0.99, 80), averaging_decay(0.99, 4)
    (0.99, 0.875, 0.0)
    """
    return min(decay, max(0.0, 1 - MIN_WINDOWS / max(1, steps)))
