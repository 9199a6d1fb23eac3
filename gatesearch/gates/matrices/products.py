"""Products of inputs with factored matrices, as functions of plain arrays.

The same functions run on PyTorch tensors and on the TFLite converter's own arrays. In the shapes, n is the number of
columns of a matrix, m the number of its rows, and groups the number of matrices in a stack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch

Array = Any  # a torch.Tensor, or any array with @, slices and reshape


class Ops(NamedTuple):
    """The functions that differ between array libraries: ``concat(arrays, axis)``, sigmoid and tanh."""

    concat: Callable[[Sequence[Array], int], Array]
    sigmoid: Callable[[Array], Array]
    tanh: Callable[[Array], Array]


TORCH = Ops(lambda arrays, axis: torch.cat(list(arrays), axis), torch.sigmoid, torch.tanh)


def block_edges(columns: int, blocks: int) -> Iterator[tuple[int, int]]:
    """Yield the first column of each block and the column after its last one.

    The first ``columns % blocks`` blocks are one column wider than the others.

    >>> list(block_edges(7, 2))
    [(0, 4), (4, 7)]
    """
    return pairwise(accumulate((columns // blocks + (j < columns % blocks) for j in range(blocks)), initial=0))


def dense_product(ops: Ops, x: Array, parts: Sequence[Array]) -> Array:
    """Multiply by a dense stack, [..., n] to [..., groups * m]."""
    return x @ parts[0].T


def hybrid_product(ops: Ops, x: Array, parts: Sequence[Array]) -> Array:
    """Multiply by a stack of hybrid matrices, [..., n] to [..., groups * m].

    ``parts`` holds the factors of a :class:`gatesearch.gates.matrices.HybridMatrix` with J blocks: its dense rows A,
    and vectors b and c, whose outer products are the blocks of rank 1. The function computes one product with A, and J
    small products with the parts of c. Each of these J products scales its vector b, and the scaled vectors are added.
    """
    dense_rows, left, right = parts
    groups, lead = right.shape[0], tuple(x.shape[:-1])
    edges = block_edges(right.shape[1], left.shape[0])
    scaled = [
        (x[..., i:j] @ right[:, i:j].T).reshape((*lead, groups, 1)) * b for (i, j), b in zip(edges, left, strict=True)
    ]
    top = (x @ dense_rows.T).reshape((*lead, groups, dense_rows.shape[0] // groups))
    return ops.concat([top, sum(scaled[1:], scaled[0])], -1).reshape((*lead, -1))


def low_rank_product(ops: Ops, x: Array, parts: Sequence[Array]) -> Array:
    """Multiply by a stack of low-rank matrices U V, [..., n] to [..., groups * m]: first by V, then by U."""
    left, right = parts
    rank = left.shape[2]
    inner = x @ right.T
    return ops.concat([inner[..., g * rank : (g + 1) * rank] @ u.T for g, u in enumerate(left)], -1)


PRODUCTS: Mapping[str, Callable[[Ops, Array, Sequence[Array]], Array]] = {
    "dense": dense_product,
    "hybrid": hybrid_product,
    "low rank": low_rank_product,
}
