"""Stacks of matrices as modules: dense, hybrid, low-rank and pruned."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from gatesearch.gates.matrices.products import PRODUCTS, TORCH, block_edges
from gatesearch.gates.matrices.sizes import zhu_gupta


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
        """Note how far a training has come, from 0 to 1."""


class HybridMatrix(Factors):
    """``rich`` dense rows over rank-1 blocks side by side: hybrid matrix decomposition.

    A matrix W [m, n] becomes

        [ A                         ]     A    [r, n], free
        [ b_1 c_1^T | ... | b_J c_J^T ]     b_j  [m - r], and the c_j side by side [n]

    so the first r outputs are any function of the inputs, and each of the others is a sum of J numbers t_j = c_j . x_j,
    weighted by its elements of the b_j. The rank is at most r + J, about twice that of a low-rank matrix with as many
    parameters. After Thakker et al. 2019 (arXiv 1906.04886) with J = 2.

    Args:
        weight: [groups * rows, columns], where the factors start from: the first rows, and the best rank-1 matrix for
            each block of the others.
        groups: matrices in the stack.
        rich: dense rows of each, r in 0 to rows.
        blocks: J; columns are dealt out as evenly as can be.

    >>> from gatesearch.gates.matrices import hybrid_parameters
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
        """Draw the factors anew, so that every element of the matrices has this standard deviation."""
        nn.init.normal_(self.rich, std=std)
        for factor in (self.left, self.right):  # an element of the blocks is a product of two
            nn.init.normal_(factor, std=math.sqrt(std))


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
        """Draw the factors anew, so that every element of the matrices has this standard deviation."""
        # An element is a sum over the rank of products of two.
        spread = math.sqrt(std / math.sqrt(self.left.shape[2]))
        nn.init.normal_(self.left, std=spread)
        nn.init.normal_(self.right, std=spread)


class PrunedMatrix(Factors):
    """A matrix of which the smallest elements are zero, more and more of them while a training runs.

    The share of zeros rises along the cubic of Zhu and Gupta 2017 (arXiv 1710.01878, equation 1). A pruned element
    stays zero, as in their masks. Evaluation is always at the final share.

    Args:
        weight: [groups * rows, columns].
        groups: matrices in the stack; elements are compared over all of it.
        keep: share of the elements that stays in the end.

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
        """Return the stack [groups * rows, columns], zeros in their places."""
        return self.weight * (self.mask if self.training else self.largest(self.keep))

    @torch.no_grad()
    def largest(self, keep: float) -> Tensor:
        """Return a mask of the elements that stay: the share ``keep`` of all, the largest of those not yet pruned."""
        score = torch.where(self.mask, self.weight.abs(), -1.0).flatten()
        best = score.topk(max(1, round(keep * score.numel()))).indices
        chosen = torch.zeros_like(score, dtype=torch.bool)
        chosen[best] = True
        return chosen.view_as(self.mask) & self.mask

    def anneal(self, progress: float) -> None:
        """Prune as far as the schedule says by now."""
        keep = 1 - zhu_gupta(progress, 1 - self.keep)
        if round(keep * self.mask.numel()) < int(self.mask.sum()):
            self.mask.copy_(self.largest(keep))


def rank_one(stack: Tensor) -> tuple[Tensor, Tensor]:
    """Return b [groups, m] and c [groups, n] of the rank-1 matrices closest to a stack [groups, m, n]; |b| = |c|."""
    if not stack.shape[1]:
        return stack.new_zeros(len(stack), 0), stack.new_zeros(len(stack), stack.shape[2])
    u, s, v = torch.linalg.svd(stack, full_matrices=False)
    scale = s[:, :1].sqrt()
    return u[:, :, 0] * scale, v[:, 0] * scale
