"""The int8 grid of features.

A device hands features on as int8. Features leave a front end on that same grid, 16 steps to a standard deviation, so
that a network is trained on, exported with and run on the same values, to the last bit.
"""

from __future__ import annotations

import torch
from torch import Tensor

GRID_STEP = 1 / 16
GRID_LOWEST, GRID_HIGHEST = -128, 127  # in steps
GRID_RANGE = (GRID_LOWEST * GRID_STEP, GRID_HIGHEST * GRID_STEP)


def round_to_grid(values: Tensor) -> Tensor:
    """Return values rounded to the grid and clamped to its ends.

    >>> round_to_grid(torch.tensor([0.05, 100.0])).tolist()
    [0.0625, 7.9375]
    """
    return torch.round(values / GRID_STEP).clamp(GRID_LOWEST, GRID_HIGHEST) * GRID_STEP
