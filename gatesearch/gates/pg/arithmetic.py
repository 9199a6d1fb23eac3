"""The arithmetic of Precision Gating: which outputs are open, and the sum of the two phases.

All functions work on levels, the whole numbers of :mod:`gatesearch.gates.quantise`; none knows a layer. Kernels are
tested against the integer form, :func:`pg_reference`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional as F

SLOPE = 5.0  # a of the surrogate


class Mask(NamedTuple):
    """The channels that share a decision, None for all, and what a core has to skip to gain by it."""

    group: int | None
    skips: str

    def size(self, channels: int) -> int:
        """Return the channels in a group; the last one of a layer may have fewer."""
        return min(self.group or channels, channels)

    def groups(self, channels: int) -> int:
        """Return the number of groups, and of thresholds."""
        return math.ceil(channels / self.size(channels))


MASKS: Mapping[str, Mask] = {
    "3d": Mask(1, "element"),
    "m1": Mask(None, "pixel"),
    "m2-8": Mask(8, "pixel-group-8"),
    "m2-16": Mask(16, "pixel-group-16"),
    "m2-32": Mask(32, "pixel-group-32"),
}


def margins(high: Tensor, group: int, threshold: Tensor, size: Tensor, winners: Tensor | None = None) -> Tensor:
    """Return by how much the score of each output's group exceeds its threshold, [N, C, ...]; above 0 it is open.

    Args:
        high: O_hb in levels, [N, C, ...].
        group: channels that share a decision; the last group may have fewer.
        threshold: Delta [groups], in units of the output.
        size: the size of a level of O_hb, [].
        winners: boolean [N, C]; only they count towards their group, and losers are never open.
    """
    channels = high.shape[1]
    if group == 1:
        margin = _margin(high, threshold, size)
    else:
        counted = high.new_ones(1, channels) if winners is None else winners.to(high.dtype)
        sums = _group_sums(high if winners is None else high * _per_channel(counted, high), group)
        counts = _group_sums(counted, group).clamp(min=1)
        margin = _margin(sums / _per_channel(counts, high), threshold, size)
        margin = margin.unsqueeze(2).expand(-1, -1, group, *high.shape[2:]).flatten(1, 2)[:, :channels]
    return margin if winners is None else margin.masked_fill(~_per_channel(winners, high), -math.inf)


def margins_of_winners(high: Tensor, winners: Tensor, group: int, threshold: Tensor, size: Tensor) -> Tensor:
    """Return :func:`margins` of one sample from its winners alone: their O_hb [1, k, ...] and indices [k]."""
    groups = winners // group
    counts = groups.bincount(minlength=len(threshold)).clamp(min=1)
    sums = high.new_zeros(1, len(threshold), *high.shape[2:]).index_add(1, groups, high)
    return _margin(sums / _per_channel(counts, high), threshold, size)[:, groups]


def add_low_bits(high: Tensor, low: Tensor, margin: Tensor, sparse: bool = False) -> Tensor:
    """Return O_hb + m O_lb, all [N, C, ...] in levels, m = 1[margin > 0].

    To ``margin`` the gradient of m is that of sigmoid(5 margin); with ``sparse``, only where m is 1.

    >>> add_low_bits(torch.ones(3), torch.full((3,), 2.0), torch.tensor([-0.1, 0.0, 0.1])).tolist()
    [1.0, 1.0, 3.0]
    """
    return cast(Tensor, _AddLowBits.apply(high, low, margin, sparse))


class _AddLowBits(torch.autograd.Function):
    """The gate as one step, so that neither mask nor sigmoid is kept for the backward pass.

    Forward, O = O_hb + m O_lb with the step m = 1[margin > 0]. Backward, the step takes the gradient of
    s = sigmoid(a margin), that is a s (1 - s) (straight-through), so that

        dL/dO_hb = g     dL/dO_lb = g m     dL/dmargin = g O_lb a s (1 - s)     with g = dL/dO

    The margin is O_hb - Delta, so autograd adds the last term to dL/dO_hb and takes it from dL/dDelta. The released
    code has the option to multiply it by m ("sparse back-propagation").
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(high: Tensor, low: Tensor, margin: Tensor, sparse: bool) -> Tensor:
        return (low * (margin > 0)).add_(high)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, low, margin, ctx.sparse = inputs
        ctx.save_for_backward(low, margin)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad, (low, margin) = grads[0], ctx.saved_tensors
        mask = margin > 0
        soft = (SLOPE * margin).sigmoid_()
        to_margin = (soft - soft.square()).mul_(grad * low).mul_(SLOPE)
        return grad, grad * mask, to_margin.mul_(mask) if ctx.sparse else to_margin, None


def rescale(total: Tensor, size: Tensor, bias: Tensor | None) -> Tensor:
    """Return outputs [N, C, ...] in their own units, from levels, the size of a level [] and the bias [C]."""
    # No fused multiply-add, here and in the margin: whether a processor uses one depends on the place in the batch.
    output = total * size
    return output if bias is None else output.add_(_per_channel(bias, output))


class IntegerPhases(NamedTuple):
    """O_hb and O in levels, int64 [..., P, C], and the mask, boolean [..., P, C]."""

    high: Tensor
    mask: Tensor
    output: Tensor


def pg_reference(x: Tensor, weight: Tensor, low_bits: int, limit: Tensor, group: int) -> IntegerPhases:
    """Compute a gated product in integers: the result that a kernel has to give, bit for bit.

    Args:
        x: signed levels of the input, int32 [..., P, K]; of a convolution, the patches under its kernel (im2col).
        weight: signed levels of the weights, int32 [C, K].
        low_bits: B_lb.
        limit: by group, int64 [groups]; a group is open where its O_hb sum to more. See :func:`integer_limit`.
        group: channels in a group.
    """
    x, rows = x.long(), weight.long().T
    coarse = x.sign() * (x.abs() >> low_bits << low_bits)
    high = coarse @ rows
    channels = high.shape[-1]
    sums = F.pad(high, (0, -channels % group)).unflatten(-1, (-1, group)).sum(-1)
    mask = (sums > limit).repeat_interleave(group, -1)[..., :channels]
    return IntegerPhases(high, mask, high + mask * ((x - coarse) @ rows))


def integer_limit(threshold: Tensor, size: Tensor, group: int, channels: int) -> Tensor:
    """Return the largest whole sums [groups] that leave their group closed, given Delta [groups].

    Args:
        threshold: Delta [groups], in units of the output.
        size: the size of a level of O_hb, [].
        group, channels: in a group, and in all.
    """
    counts = torch.full_like(threshold, group, dtype=torch.float64)
    counts[-1] = channels - group * (len(counts) - 1)
    limit = (threshold.double() * counts / size.double()).floor()
    return limit.clamp(-(2.0**62), 2.0**62).long()


def _margin(score: Tensor, threshold: Tensor, size: Tensor) -> Tensor:
    return (score * size).sub_(_per_channel(threshold, score))


def _per_channel(values: Tensor, like: Tensor) -> Tensor:
    """Shape [C] or [N, C] so that it meets [N, C, ...]."""
    return values.reshape(*values.shape, *[1] * (like.ndim - 2))


def _group_sums(values: Tensor, group: int) -> Tensor:
    missing = -values.shape[1] % group
    if missing:
        values = F.pad(values, [0, 0] * (values.ndim - 2) + [0, missing])
    return values.unflatten(1, (-1, group)).sum(2)
