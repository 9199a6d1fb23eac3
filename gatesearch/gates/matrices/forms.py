"""Stacks of matrices as modules: dense, hybrid, low-rank and pruned."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from gatesearch.gates.matrices.products import PRODUCTS, TORCH, block_edges
from gatesearch.gates.matrices.sizes import zhu_gupta


class Factors(nn.Module):
    """A stack of matrices. This base class holds the dense stack; its subclasses hold factors of it.

    Args:
        weight: the dense stack, [groups * rows, columns].
        groups: number of matrices in the stack.
    """

    form: ClassVar[str] = "dense"  # key of the form's product in PRODUCTS

    def __init__(self, weight: Tensor, groups: int = 1) -> None:
        super().__init__()
        self.groups, self.rows, self.columns = groups, len(weight) // groups, weight.shape[1]
        self.weight = nn.Parameter(weight.detach().clone())

    def dense(self) -> Tensor:
        """Return the stack [groups * rows, columns] that the factors stand for."""
        return self.weight

    def parts(self) -> list[Tensor]:
        """Return the factors in the order in which the product of this form takes them."""
        return [self.dense()]

    def forward(self, x: Tensor) -> Tensor:
        """Multiply by the factors, [..., columns] to [..., groups * rows]."""
        y: Tensor = PRODUCTS[self.form](TORCH, x, self.parts())
        return y

    def anneal(self, progress: float) -> None:
        """Adapt to the progress of a training, from 0 to 1; only pruned matrices do."""


class HybridMatrix(Factors):
    """A stack of hybrid matrices: each has some dense rows, and below them rank-1 blocks side by side.

    A matrix W [m, n] becomes

        [ A                         ]     A    [r, n], dense rows
        [ b_1 c_1^T | ... | b_J c_J^T ]     b_j  [m - r]; the c_j together have n elements

    The first r outputs can be any linear function of the input x. For the other outputs, block j reads a part x_j of
    the input and computes one number, t_j = c_j . x_j. Each of these outputs is a sum of t_1 to t_J, weighted by the
    output's elements of b_1 to b_J. The rank of W is at most r + J. A low-rank matrix with as many parameters has about
    half that rank. The form is that of Thakker et al. 2019 (arXiv 1906.04886), who use J = 2.

    Args:
        weight: the dense stack from which the factors are fitted, [groups * rows, columns]. A starts as the first r
            rows; each block starts as the best rank-1 approximation of its part of the other rows.
        groups: number of matrices in the stack.
        dense_rows: r, the number of dense rows of each matrix, from 0 to all of its m rows.
        blocks: J, the number of blocks; their widths differ by one column at most.

    >>> from gatesearch.gates.matrices import hybrid_parameters
    >>> hybrid = HybridMatrix(torch.randn(20, 6), groups=2, dense_rows=4, blocks=2)
    >>> sum(p.numel() for p in hybrid.parameters()) == 2 * hybrid_parameters(10, 6, 4, 2)
    True
    >>> int(torch.linalg.matrix_rank(hybrid.dense()[:10])), hybrid(torch.randn(3, 6)).shape
    (6, torch.Size([3, 20]))
    """

    form = "hybrid"

    def __init__(self, weight: Tensor, groups: int, dense_rows: int, blocks: int) -> None:
        nn.Module.__init__(self)
        self.groups, self.rows, self.columns = groups, len(weight) // groups, weight.shape[1]
        self.widths = [end - begin for begin, end in block_edges(self.columns, blocks)]
        stack = weight.detach().unflatten(0, (groups, self.rows))
        self.rich = nn.Parameter(stack[:, :dense_rows].flatten(0, 1).clone())  # A, [groups * r, n]
        parts = [rank_one(part) for part in stack[:, dense_rows:].split(self.widths, 2)]
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
        """Draw random factors with which every element of the matrices has the standard deviation ``std``."""
        nn.init.normal_(self.rich, std=std)
        for factor in (self.left, self.right):  # an element of a block is a product of two numbers
            nn.init.normal_(factor, std=math.sqrt(std))


class LowRankMatrix(Factors):
    """A stack of low-rank matrices: each is a product U V with U [m, d] and V [d, n].

    Args:
        weight: the dense stack, [groups * rows, columns]; the factors start as its best approximation.
        groups: number of matrices in the stack, each with factors of its own.
        rank: d, the rank of each matrix.

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
        """Draw random factors with which every element of the matrices has the standard deviation ``std``."""
        # An element of U V is a sum of d products of two numbers, so its variance is d spread^4.
        spread = math.sqrt(std / math.sqrt(self.left.shape[2]))
        nn.init.normal_(self.left, std=spread)
        nn.init.normal_(self.right, std=spread)


class PrunedMatrix(Factors):
    """A stack of pruned matrices: its smallest elements are zero, and the share of zeros rises during training.

    The share of zeros rises along the cubic schedule of Zhu and Gupta 2017 (arXiv 1710.01878, equation 1). An element
    that is pruned once stays zero, as in their paper. Evaluation always uses the final share.

    Args:
        weight: the dense stack, [groups * rows, columns].
        groups: number of matrices in the stack; elements are compared over the whole stack.
        keep: share of the elements that remains at the end of training.

    >>> pruned = PrunedMatrix(torch.randn(20, 6), groups=2, keep=0.25).eval()
    >>> int(pruned.dense().count_nonzero())
    30
    """

    mask: Tensor

    def __init__(self, weight: Tensor, groups: int, keep: float) -> None:
        super().__init__(weight, groups)
        self.keep = keep
        self.register_buffer("mask", torch.ones_like(self.weight, dtype=torch.bool))

    def dense(self) -> Tensor:
        """Return the stack [groups * rows, columns], in which pruned elements are zero."""
        return self.weight * (self.mask if self.training else self.largest(self.keep))

    @torch.no_grad()
    def largest(self, keep: float) -> Tensor:
        """Return a mask of the largest elements that are not yet pruned; they are a share ``keep`` of all elements."""
        score = torch.where(self.mask, self.weight.abs(), -1.0).flatten()
        best = score.topk(max(1, round(keep * score.numel()))).indices
        chosen = torch.zeros_like(score, dtype=torch.bool)
        chosen[best] = True
        return chosen.view_as(self.mask) & self.mask

    def anneal(self, progress: float) -> None:
        """Prune to the share of zeros that the schedule sets for a progress of the training, from 0 to 1."""
        keep = 1 - zhu_gupta(progress, 1 - self.keep)
        if round(keep * self.mask.numel()) < int(self.mask.sum()):
            self.mask.copy_(self.largest(keep))


def rank_one(stack: Tensor) -> tuple[Tensor, Tensor]:
    """Return b [groups, m] and c [groups, n]: b c^T is the rank-1 matrix closest to each matrix of [groups, m, n].

    b and c have the same norm.
    """
    if not stack.shape[1]:
        return stack.new_zeros(len(stack), 0), stack.new_zeros(len(stack), stack.shape[2])
    u, s, v = torch.linalg.svd(stack, full_matrices=False)
    scale = s[:, :1].sqrt()
    return u[:, :, 0] * scale, v[:, 0] * scale
