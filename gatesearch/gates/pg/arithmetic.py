"""The arithmetic of Precision Gating (PG): which outputs are open, and the sum of the two phases.

The first phase multiplies the weights by the high bits of the input and yields O_hb. The second phase multiplies them
by the low bits and yields O_lb. An output is open if its O_lb is added. All functions work on levels, the integers of
:mod:`gatesearch.gates.quantise`. Tests compare the kernels with the integer form, :func:`pg_reference`.
:mod:`gatesearch.gates.pg` has the equations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional as F

SLOPE = 5.0  # a, the slope of the sigmoid whose gradient replaces that of the step


class Mask(NamedTuple):
    """A form of the mask of open outputs.

    Args:
        group: number of neighbouring channels that share a decision; None for all channels.
        skips: unit of work that a core has to skip to save time by this mask.
    """

    group: int | None
    skips: str

    def size(self, channels: int) -> int:
        """Return the number of channels in a group; the last group of a layer may have fewer."""
        return min(self.group or channels, channels)

    def groups(self, channels: int) -> int:
        """Return the number of groups, which is also the number of thresholds."""
        return math.ceil(channels / self.size(channels))


MASKS: Mapping[str, Mask] = {
    "3d": Mask(1, "element"),
    "m1": Mask(None, "pixel"),
    "m2-8": Mask(8, "pixel-group-8"),
    "m2-16": Mask(16, "pixel-group-16"),
    "m2-32": Mask(32, "pixel-group-32"),
}


def margins(high: Tensor, group: int, threshold: Tensor, size: Tensor, winners: Tensor | None = None) -> Tensor:
    """Return the margin of each output, [N, C, ...]: its group's mean of O_hb minus the group's threshold.

    An output is open if its margin is above 0.

    Args:
        high: O_hb in levels, [N, C, ...].
        group: number of channels that share a decision; the last group may have fewer.
        threshold: Delta [groups], in units of the output.
        size: the size of a level of O_hb, [].
        winners: the channels that FBS (Feature Boosting and Suppression) computes, boolean [N, C]; None without FBS.
            Only these channels count in the means, and only they can be open.
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
    """Return :func:`margins` of one sample for its winners alone, given their O_hb [1, k, ...] and indices [k]."""
    groups = winners // group
    counts = groups.bincount(minlength=len(threshold)).clamp(min=1)
    sums = high.new_zeros(1, len(threshold), *high.shape[2:]).index_add(1, groups, high)
    return _margin(sums / _per_channel(counts, high), threshold, size)[:, groups]


def add_low_bits(high: Tensor, low: Tensor, margin: Tensor, sparse: bool = False) -> Tensor:
    """Return O_hb + m O_lb with m = 1[margin > 0]; all are [N, C, ...], in levels.

    The gradient of m with respect to ``margin`` is that of sigmoid(5 margin). With ``sparse``, it is zero where m is 0.

    >>> add_low_bits(torch.ones(3), torch.full((3,), 2.0), torch.tensor([-0.1, 0.0, 0.1])).tolist()
    [1.0, 1.0, 3.0]
    """
    return cast(Tensor, _AddLowBits.apply(high, low, margin, sparse))


class _AddLowBits(torch.autograd.Function):
    """The sum of the two phases as one operation, so that neither mask nor sigmoid is stored for the backward pass.

    The forward pass computes O = O_hb + m O_lb with the step m = 1[margin > 0]. The backward pass replaces the step's
    gradient by that of s = sigmoid(a margin), which is a s (1 - s) (straight-through). So, with g = dL/dO:

        dL/dO_hb = g     dL/dO_lb = g m     dL/dmargin = g O_lb a s (1 - s)

    The margin is a mean of O_hb minus the threshold Delta. So autograd adds the last gradient to that of O_hb and
    subtracts it from that of Delta. With ``sparse``, the last gradient is multiplied by m, an option of the paper's
    released code ("sparse back-propagation").
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
    """Return outputs [N, C, ...] in their own units, given levels, the size of a level [] and the bias [C]."""
    # Multiplication and addition are separate operations, in this function and in `_margin`. A fused operation rounds
    # differently, and whether a processor fuses them may depend on the sample's position in the batch.
    output = total * size
    return output if bias is None else output.add_(_per_channel(bias, output))


class IntegerPhases(NamedTuple):
    """The result of :func:`pg_reference`.

    ``high`` is O_hb and ``output`` is O, both in levels, int64 [..., P, C]. ``mask`` says which outputs are open,
    boolean [..., P, C]. P counts positions and C output channels.
    """

    high: Tensor
    mask: Tensor
    output: Tensor


def pg_reference(x: Tensor, weight: Tensor, low_bits: int, limit: Tensor, group: int) -> IntegerPhases:
    """Compute a gated product in integers; a kernel has to return the same integers.

    Args:
        x: signed levels of the input, int32 [..., P, K]; for a convolution, the patches under its kernel (im2col).
        weight: signed levels of the weights, int32 [C, K].
        low_bits: B_lb, the number of low bits.
        limit: limit of each group, int64 [groups], from :func:`integer_limit`. A group is open where the sum of its
            O_hb exceeds the limit.
        group: number of channels in a group.
    """
    x, rows = x.long(), weight.long().T
    coarse = x.sign() * (x.abs() >> low_bits << low_bits)
    high = coarse @ rows
    channels = high.shape[-1]
    sums = F.pad(high, (0, -channels % group)).unflatten(-1, (-1, group)).sum(-1)
    mask = (sums > limit).repeat_interleave(group, -1)[..., :channels]
    return IntegerPhases(high, mask, high + mask * ((x - coarse) @ rows))


def integer_limit(threshold: Tensor, size: Tensor, group: int, channels: int) -> Tensor:
    """Return the limit of each group [groups]: the largest integer sum of O_hb at which the group is closed.

    Args:
        threshold: Delta [groups], in units of the output.
        size: the size of a level of O_hb, [].
        group: number of channels in a group; the last group may have fewer.
        channels: number of channels of the layer.
    """
    counts = torch.full_like(threshold, group, dtype=torch.float64)
    counts[-1] = channels - group * (len(counts) - 1)
    limit = (threshold.double() * counts / size.double()).floor()
    return limit.clamp(-(2.0**62), 2.0**62).long()


def _margin(score: Tensor, threshold: Tensor, size: Tensor) -> Tensor:
    return (score * size).sub_(_per_channel(threshold, score))


def _per_channel(values: Tensor, like: Tensor) -> Tensor:
    """Reshape [C] or [N, C] so that it broadcasts over [N, C, ...]."""
    return values.reshape(*values.shape, *[1] * (like.ndim - 2))


def _group_sums(values: Tensor, group: int) -> Tensor:
    missing = -values.shape[1] % group
    if missing:
        values = F.pad(values, [0, 0] * (values.ndim - 2) + [0, missing])
    return values.unflatten(1, (-1, group)).sum(2)
