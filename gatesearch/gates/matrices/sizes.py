"""Sizes of compressed matrices: dense rows, ranks and parameters; and the schedule of pruning.

A matrix has m rows and n columns. A hybrid matrix has r dense rows, and below them J rank-1 blocks side by side.
"""

from __future__ import annotations

import math

BEGIN, END = 0.1, 0.7  # progress of a training at which pruning starts and ends
STEPS = 30  # number of steps from BEGIN to END; at each, the share of zeros rises


def zhu_gupta(progress: float, final: float) -> float:
    """Return the share of zeros at a progress of the training: s = s_f (1 - (1 - t)^3).

    s_f is the final share. t rises from 0 at ``BEGIN`` to 1 at ``END`` in ``STEPS`` steps. The formula is equation 1 of
    Zhu and Gupta 2017 (arXiv 1710.01878).

    >>> [round(zhu_gupta(p, 0.75), 3) for p in (0.0, 0.1, 0.4, 0.7, 1.0)]
    [0.0, 0.0, 0.656, 0.75, 0.75]
    """
    done = min(1.0, max(0.0, (progress - BEGIN) / (END - BEGIN)))
    return final * (1 - (1 - math.floor(done * STEPS + 1e-9) / STEPS) ** 3)


def hybrid_parameters(rows: int, columns: int, dense_rows: int, blocks: int) -> int:
    """Return the number of parameters of a hybrid matrix: r n + J (m - r) + n.

    A product with the matrix takes the same number of multiplications.

    >>> hybrid_parameters(200, 200, 97, 2)
    19806
    """
    return dense_rows * columns + blocks * (rows - dense_rows) + columns


def count_dense_rows(rows: int, columns: int, blocks: int, factor: float) -> int:
    """Return the largest r for which a hybrid matrix has at most m n / factor parameters; negative if there is none.

    r = (m n / factor - J m - n) / (n - J), rounded down. For several matrices with the same number of rows, such as
    those of the input and the state of a recurrent layer, ``columns`` and ``blocks`` are sums over the matrices.

    >>> [count_dense_rows(200, 200, 2, factor) for factor in (2, 4)], count_dense_rows(650, 650, 2, 2)
    ([97, 47], 322)
    """
    if blocks >= columns:
        return -1  # a block for every column is no smaller than the matrix
    return math.floor((rows * columns / factor - blocks * rows - columns) / (columns - blocks) + 1e-9)


def low_rank(rows: int, columns: int, factor: float) -> int:
    """Return the largest rank at which two factors have together no more than m n / factor parameters.

    >>> [low_rank(200, 200, factor) for factor in (2, 4)]
    [50, 25]
    """
    return math.floor(rows * columns / factor / (rows + columns) + 1e-9)
