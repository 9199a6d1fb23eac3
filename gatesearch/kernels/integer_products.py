"""Whole-number products for the kernels of precision gating: references, checks of ranges, and thresholds.

Precision gating computes every output with the high bits of the input. It adds the low bits only to open outputs, whose
first result exceeds a threshold.
"""

from __future__ import annotations

import numpy as np
import torch

from gatesearch.gates import BLOCK, quantise
from gatesearch.gates.pg import BYTE, PGConv2d, PGLinear
from gatesearch.kernels.arrays import Array
from gatesearch.kernels.geometry import Geometry

INT32 = np.iinfo(np.int32)


def integer_products(geometry: Geometry, x: Array, weight: Array) -> torch.Tensor:
    """Return the convolution of x [h, w, c_in] and weights, all whole numbers, int64 [h', w', c_out]."""
    g = geometry
    image = torch.from_numpy(x.astype(np.float64)).movedim(-1, 0)[None]
    patches = torch.nn.functional.unfold(image, g.kernel, g.dilation, g.padding, g.stride)[0].T
    flat = torch.from_numpy(weight.astype(np.int64).reshape(g.c_out, -1))
    return (patches.long() @ flat.T).reshape(*g.output, g.c_out)


@torch.no_grad()
def gate_sizes(gate: PGConv2d | PGLinear) -> tuple[torch.Tensor, float, float]:
    """Return the levels of a trained gate's weights, and the real values of a step of its input and of the product.

    Both real values are computed in float32, as in the trained module.
    """
    weight, weight_step = gate.weights()
    _, scale = gate.range(torch.zeros(1))
    step = quantise.level(scale, gate.settings.bits)
    return weight.detach(), float(step), float(step * weight_step)


def check_bits(bits: int, low_bits: int, doubled: bool) -> int:
    """Return the number of high bits.

    Raises:
        ValueError: there are no high bits, or the high or the low bits are too many: more than 8, or more than 7 where
            levels are ``doubled``.
    """
    high_bits, largest = bits - low_bits, BYTE - doubled
    if not (0 <= low_bits <= largest and 1 <= high_bits <= largest):
        raise ValueError(
            f"{bits} bits, {low_bits} of them low; wanted: 0 to {largest} low bits and 1 to {largest} high bits"
        )
    return high_bits


def check_sums(weight: Array, largest: int) -> None:
    """Check that sums over a block of channels fit 32 bits for every input.

    A decision sums the products of a block's channels, so the weights of up to 16 channels add up.

    Raises:
        ValueError: sums could overflow for inputs up to ``largest``.
    """
    by_channel = np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(1)
    by_block = np.add.reduceat(by_channel, range(0, len(weight), BLOCK))
    if by_block.max() * largest > INT32.max:
        raise ValueError(f"sums of weights of {int(by_block.max())} times {largest} do not fit 32 bits")


def open_thresholds(geometry: Geometry, high: Array, weight: Array, group: int, share: float) -> Array:
    """Return for each group a threshold that the given share of its outputs exceeds, float32 [groups].

    Args:
        geometry: the geometry of the convolution.
        high: high parts of an input [h, w, c_in].
        weight: whole numbers [c_out, c_in, kh, kw].
        group: number of channels that share a decision.
        share: the share of outputs to open, 0 to 1.
    """
    image, filters = torch.from_numpy(high.astype(np.float64)), torch.from_numpy(weight.astype(np.float64))
    sums = geometry.convolve(image, filters).numpy()
    bound = 8 * float(np.abs(sums).max()) + 1  # larger than any mean of sums, whichever channels of a group it covers
    # An output opens strictly above its threshold, so a threshold below the smallest sum opens all.
    if share in (0, 1):
        thresholds = [bound if share == 0 else -bound] * -(-geometry.c_out // group)
    else:
        means = (sums[..., i : i + group].mean(-1) for i in range(0, geometry.c_out, group))
        thresholds = [np.quantile(mean, 1 - share) for mean in means]
    return np.array(thresholds, np.float32)
