"""Matrices with less in them: hybrid, low-rank, pruned. What a linear or recurrent layer multiplies by.

A recurrent layer has a matrix for each of its gates, stored one on another; all of them get the same structure. Each
class holds the factors of such a stack [groups * rows, columns], knows the stack that they stand for (:meth:`dense`)
and multiplies by it without ever forming it (``forward``), which is what is exported and timed.

A product is a function of plain arrays, so that PyTorch and a converter that thinks in other arrays run the same lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

Array = Any  # a tensor of PyTorch, or whatever else knows @, slices and reshape


class Ops(NamedTuple):
    """What has no operator of its own: ``concat(arrays, axis)`` and two functions of an array."""

    concat: Callable[[Sequence[Array], int], Array]
    sigmoid: Callable[[Array], Array]
    tanh: Callable[[Array], Array]


TORCH = Ops(lambda arrays, axis: torch.cat(list(arrays), axis), torch.sigmoid, torch.tanh)


class Factors(nn.Module):
    """A stack of matrices; this one holds it as it is.

    Args:
        weight: [groups * rows, columns].
        groups: matrices in the stack.
    """

    form: ClassVar[str] = "dense"  # key of PRODUCTS

    def __init__(self, weight: Tensor, groups: int = 1) -> None:
        super().__init__()
        self.groups, self.rows, self.columns = groups, len(weight) // groups, weight.shape[1]
        self.weight = nn.Parameter(weight.detach().clone())

    def dense(self) -> Tensor:
        """Return the stack [groups * rows, columns] that the factors stand for."""
        return self.weight

    def parts(self) -> list[Tensor]:
        """Return what the product of this form takes."""
        return [self.dense()]

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., columns] to [..., groups * rows], factor by factor."""
        y: Tensor = PRODUCTS[self.form](TORCH, x, self.parts())
        return y

    def anneal(self, progress: float) -> None:
        """Take note of how far a training has come, from 0 to 1."""


class HybridMatrix(Factors):
    """``rich`` dense rows over rank-1 blocks side by side: hybrid matrix decomposition.

    W = [A ; b_1 c_1^T | ... | b_J c_J^T] with A [r, n], b_j [m - r] and the c_j together [n]. After Thakker et al.; the
    two-block form is section 4.1 of the specification.

    Args:
        weight: [groups * rows, columns], where the factors start from: the first rows, and the best rank-1 matrix for
            each block of the others.
        groups: matrices in the stack.
        rich: dense rows of each, r in 0 to rows.
        blocks: J; columns are dealt out as evenly as can be.

    >>> hybrid = HybridMatrix(torch.randn(20, 6), groups=2, rich=4, blocks=2)
    >>> sum(p.numel() for p in hybrid.parameters()) == 2 * hybrid_parameters(10, 6, 4, 2)
    True
    >>> int(torch.linalg.matrix_rank(hybrid.dense()[:10])), hybrid(torch.randn(3, 6)).shape
    (6, torch.Size([3, 20]))
    """

    form = "hybrid"

    def __init__(self, weight: Tensor, groups: int, rich: int, blocks: int) -> None:
        nn.Module.__init__(self)
        self.groups, self.rows, self.columns = groups, len(weight) // groups, weight.shape[1]
        self.widths = [end - begin for begin, end in block_edges(self.columns, blocks)]
        stack = weight.detach().unflatten(0, (groups, self.rows))
        self.rich = nn.Parameter(stack[:, :rich].flatten(0, 1).clone())  # A, [groups * r, n]
        parts = [rank_one(part) for part in stack[:, rich:].split(self.widths, 2)]
        self.left = nn.Parameter(torch.stack([left for left, _ in parts]))  # b, [J, groups, m - r]
        self.right = nn.Parameter(torch.cat([right for _, right in parts], 1))  # c, [groups, n]

    def dense(self) -> Tensor:
        """Return the stack [groups * rows, columns] that the factors stand for."""
        right = self.right.split(self.widths, 1)
        bottom = torch.cat([b.unsqueeze(2) * c.unsqueeze(1) for b, c in zip(self.left, right, strict=True)], 2)
        return torch.cat([self.rich.unflatten(0, (self.groups, -1)), bottom], 1).flatten(0, 1)

    def parts(self) -> list[Tensor]:
        """Return A [groups * r, n], b [J, groups, m - r] and c [groups, n]."""
        return [self.rich, self.left, self.right]

    @torch.no_grad()
    def redraw(self, std: float) -> None:
        """Start from chance instead: every element of the matrices has this standard deviation."""
        for factor, spread in ((self.rich, std), (self.left, math.sqrt(std)), (self.right, math.sqrt(std))):
            nn.init.normal_(factor, std=spread)


class LowRankMatrix(Factors):
    """U V with U [m, d] and V [d, n]: low-rank matrix factorisation (LMF).

    Args:
        weight: [groups * rows, columns], of which the factors start as the best approximation.
        groups: matrices in the stack, each with factors of its own.
        rank: d.

    >>> low = LowRankMatrix(torch.randn(20, 6), groups=2, rank=3)
    >>> sum(p.numel() for p in low.parameters()), int(torch.linalg.matrix_rank(low.dense()[:10]))
    (96, 3)
    """

    form = "low rank"

    def __init__(self, weight: Tensor, groups: int, rank: int) -> None:
        nn.Module.__init__(self)
        self.groups, self.rows, self.columns = groups, len(weight) // groups, weight.shape[1]
        stack = weight.detach().unflatten(0, (groups, self.rows))
        u, s, v = torch.linalg.svd(stack, full_matrices=False)
        scale = s[:, :rank].sqrt()
        self.left = nn.Parameter((u[:, :, :rank] * scale.unsqueeze(1)).contiguous())  # [groups, m, d]
        self.right = nn.Parameter((v[:, :rank] * scale.unsqueeze(2)).flatten(0, 1).contiguous())  # [groups * d, n]

    def dense(self) -> Tensor:
        """Return the stack [groups * rows, columns] that the factors stand for."""
        return (self.left @ self.right.unflatten(0, (self.groups, -1))).flatten(0, 1)

    def parts(self) -> list[Tensor]:
        """Return U [groups, m, d] and V [groups * d, n]."""
        return [self.left, self.right]

    @torch.no_grad()
    def redraw(self, std: float) -> None:
        """Start from chance instead: every element of the matrices has this standard deviation."""
        spread = math.sqrt(std / math.sqrt(self.left.shape[2]))
        nn.init.normal_(self.left, std=spread)
        nn.init.normal_(self.right, std=spread)


class PrunedMatrix(Factors):
    """A matrix of which the smallest elements are zero, ever more of them while a training runs.

    The share of zeros rises along the cubic of Zhu and Gupta 2017 (arXiv 1710.01878, equation 1), and an element that
    is gone stays so, as in their masks. Evaluation is always at the final share.

    Args:
        weight: [groups * rows, columns].
        groups: matrices in the stack; elements are compared over all of it.
        kept: share of the elements that is left in the end.

    >>> pruned = PrunedMatrix(torch.randn(20, 6), groups=2, kept=0.25).eval()
    >>> int(pruned.dense().count_nonzero())
    30
    """

    mask: Tensor

    def __init__(self, weight: Tensor, groups: int, kept: float) -> None:
        super().__init__(weight, groups)
        self.kept = kept
        self.register_buffer("mask", torch.ones_like(self.weight, dtype=torch.bool))

    def dense(self) -> Tensor:
        """Return the stack [groups * rows, columns], zeros in their places."""
        return self.weight * (self.mask if self.training else self.largest(self.kept))

    @torch.no_grad()
    def largest(self, kept: float) -> Tensor:
        """Return which elements are left, boolean, if so large a share of all is to be."""
        score = torch.where(self.mask, self.weight.abs(), -1.0).flatten()
        best = score.topk(max(1, round(kept * score.numel()))).indices
        chosen = torch.zeros_like(score, dtype=torch.bool)
        chosen[best] = True
        return chosen.view_as(self.mask) & self.mask

    def anneal(self, progress: float) -> None:
        """Let go of what the schedule asks for by now."""
        kept = 1 - zhu_gupta(progress, 1 - self.kept)
        if round(kept * self.mask.numel()) < int(self.mask.sum()):
            self.mask.copy_(self.largest(kept))


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

BEGIN, END = 0.1, 0.7  # of a training: pruning starts and ends there
STEPS = 30  # in which the share of zeros rises in between


def zhu_gupta(progress: float, final: float) -> float:
    """Return the share of zeros at a point of the training: s = s_f (1 - (1 - t)^3), in steps.

    >>> [round(zhu_gupta(p, 0.75), 3) for p in (0.0, 0.1, 0.4, 0.7, 1.0)]
    [0.0, 0.0, 0.656, 0.75, 0.75]
    """
    done = min(1.0, max(0.0, (progress - BEGIN) / (END - BEGIN)))
    return final * (1 - (1 - math.floor(done * STEPS + 1e-9) / STEPS) ** 3)


def rank_one(stack: Tensor) -> tuple[Tensor, Tensor]:
    """Return b [groups, m] and c [groups, n] of the rank-1 matrices closest to a stack [groups, m, n]; |b| = |c|."""
    if not stack.shape[1]:
        return stack.new_zeros(len(stack), 0), stack.new_zeros(len(stack), stack.shape[2])
    u, s, v = torch.linalg.svd(stack, full_matrices=False)
    scale = s[:, :1].sqrt()
    return u[:, :, 0] * scale, v[:, 0] * scale


def hybrid_parameters(rows: int, columns: int, rich: int, blocks: int) -> int:
    """Return r n + J (m - r) + n, which is also the number of multiplications by the matrix.

    >>> hybrid_parameters(200, 200, 97, 2)
    19806
    """
    return rich * columns + blocks * (rows - rich) + columns


def rich_rows(rows: int, columns: int, blocks: int, factor: float) -> int:
    """Return the most dense rows at which a matrix has no more than 1 / factor of its parameters; below 0 if none has.

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
