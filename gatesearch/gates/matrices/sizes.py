"""Sizes of compressed matrices: dense rows, ranks, parameters, and the pruning schedule."""

from __future__ import annotations

import math

BEGIN, END = 0.1, 0.7  # progress of a training at which pruning starts and ends
STEPS = 30  # between the two, at each of which the share of zeros rises


def zhu_gupta(progress: float, final: float) -> float:
    """Return the share of zeros at a point of the training: s = s_f (1 - (1 - t)^3), in steps.

    >>> [round(zhu_gupta(p, 0.75), 3) for p in (0.0, 0.1, 0.4, 0.7, 1.0)]
    [0.0, 0.0, 0.656, 0.75, 0.75]
    """
    done = min(1.0, max(0.0, (progress - BEGIN) / (END - BEGIN)))
    return final * (1 - (1 - math.floor(done * STEPS + 1e-9) / STEPS) ** 3)


def hybrid_parameters(rows: int, columns: int, rich: int, blocks: int) -> int:
    """Return r n + J (m - r) + n, which is also the number of multiplications by the matrix.

    >>> hybrid_parameters(200, 200, 97, 2)
    19806
    """
    return rich * columns + blocks * (rows - rich) + columns


def rich_rows(rows: int, columns: int, blocks: int, factor: float) -> int:
    """Return the most dense rows with which a matrix has at most 1 / factor of its parameters; negative if none.

    r = (m n / factor - J m - n) / (n - J), rounded down. Of several matrices with the same rows, such as those for the
    input and for the state of a recurrent layer, columns and blocks add up.

    >>> [rich_rows(200, 200, 2, factor) for factor in (2, 4)], rich_rows(650, 650, 2, 2)
    ([97, 47], 322)
    """
    if blocks >= columns:
        return -1  # a block for every column is no smaller than the matrix
    return math.floor((rows * columns / factor - blocks * rows - columns) / (columns - blocks) + 1e-9)


def low_rank(rows: int, columns: int, factor: float) -> int:
    """Return the largest rank at which two factors have no more than 1 / factor of the matrix's parameters.

    >>> [low_rank(200, 200, factor) for factor in (2, 4)]
    [50, 25]
    """
    return math.floor(rows * columns / factor / (rows + columns) + 1e-9)
