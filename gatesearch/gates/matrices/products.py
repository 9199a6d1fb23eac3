"""Products with factored matrices, as functions of plain arrays.

PyTorch and the TFLite converter's own arrays run the same lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch

Array = Any  # a torch.Tensor, or any array with @, slices and reshape


class Ops(NamedTuple):
    """The functions that array libraries spell differently: ``concat(arrays, axis)``, sigmoid and tanh."""

    concat: Callable[[Sequence[Array], int], Array]
    sigmoid: Callable[[Array], Array]
    tanh: Callable[[Array], Array]


TORCH = Ops(lambda arrays, axis: torch.cat(list(arrays), axis), torch.sigmoid, torch.tanh)


def block_edges(columns: int, blocks: int) -> Iterator[tuple[int, int]]:
    """Yield first and last column, excluded, of each block; the first columns % blocks of them are one wider.

    >>> list(block_edges(7, 2))
    [(0, 4), (4, 7)]
    """
    return pairwise(accumulate((columns // blocks + (j < columns % blocks) for j in range(blocks)), initial=0))


def dense_product(ops: Ops, x: Array, parts: Sequence[Array]) -> Array:
    """Map [..., n] to [..., groups * m]."""
    return x @ parts[0].T


def hybrid_product(ops: Ops, x: Array, parts: Sequence[Array]) -> Array:
    """Map [..., n] to [..., groups * m]: one product with A, J small ones with c, and J scaled additions of b."""
    rich, left, right = parts
    groups, lead = right.shape[0], tuple(x.shape[:-1])
    edges = block_edges(right.shape[1], left.shape[0])
    scaled = [
        (x[..., i:j] @ right[:, i:j].T).reshape((*lead, groups, 1)) * b for (i, j), b in zip(edges, left, strict=True)
    ]
    top = (x @ rich.T).reshape((*lead, groups, rich.shape[0] // groups))
    return ops.concat([top, sum(scaled[1:], scaled[0])], -1).reshape((*lead, -1))


def low_rank_product(ops: Ops, x: Array, parts: Sequence[Array]) -> Array:
    """Map [..., n] to [..., groups * m]: two products, the second of which waits for the first."""
    left, right = parts
    rank = left.shape[2]
    inner = x @ right.T
    return ops.concat([inner[..., g * rank : (g + 1) * rank] @ u.T for g, u in enumerate(left)], -1)


PRODUCTS: Mapping[str, Callable[[Ops, Array, Sequence[Array]], Array]] = {
    "dense": dense_product,
    "hybrid": hybrid_product,
    "low rank": low_rank_product,
}
