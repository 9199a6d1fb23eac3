"""The decay of the moving average of the weights, which a training returns in place of its last weights."""

from __future__ import annotations

MIN_WINDOWS = 10  # a training is at least so many windows of the average long


def averaging_decay(decay: float, steps: int) -> float:
    """Return the decay of the moving average in a training of that many steps.

    The average a <- d a + (1 - d) w starts from the weights after the first step, which keep a share d^(steps - 1) of
    it. It reaches back over a window of about 1 / (1 - d) steps. In a training of fewer than ten windows the average
    would contain weights of the beginning, so its window is then a tenth of the steps. The first weights then have a
    share below exp(-10), and those of the first half, where the learning rate is high, below exp(-5). A longer training
    has the decay of its recipe.

    Args:
        decay: d of a long training, in [0, 1).
        steps: optimiser steps of the whole training.

    >>> averaging_decay(0.99, 2000), averaging_decay(0.99, 80), averaging_decay(0.99, 4)
    (0.99, 0.875, 0.0)
    """
    return min(decay, max(0.0, 1 - MIN_WINDOWS / max(1, steps)))
