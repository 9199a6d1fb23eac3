"""Measures how many output channels a convolution computes together on this host (its tile).

XNNPACK, LiteRT's library of kernels, chooses a micro-kernel by processor and number format, and only timings show its
width. With tiles of 32 channels, 40 and 64 channels are two tiles each and take equally long. With tiles of 8 they are
five and eight tiles, and the ratio of their times is 5 to 8. So convolutions of these two widths are timed. The result
is the tile for which the ratio of the numbers of tiles is closest to the ratio of the times.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from itertools import product

import torch
from torch import Tensor, nn

from gatesearch.cost.blocks import Components
from gatesearch.cost.programs import in_both_formats

PROBED_CHANNELS = (40, 64)
TILE_CHANNELS = (8, 16, 32)
PROBE_INPUTS = 64  # input channels of a probe
PROBE_SIZE = 20  # height and width of a probe's image, in pixels
Probes = dict[tuple[Hashable, int], bytes]  # programs by (number format, pointwise) and output channels


def probe_networks() -> dict[str, tuple[nn.Module, Tensor]]:
    """Return the probes by name: a convolution of each kernel size and width, with an example of its input."""
    return {
        _name(pointwise, channels): (_convolution(pointwise, channels), _samples())
        for pointwise, channels in product((False, True), PROBED_CHANNELS)
    }


def probe_programs(components: Components, in_float: Mapping[str, bytes]) -> Probes:
    """Return the programs of the probes that a backbone needs.

    These are the probes with the kernel sizes of blocks whose output channels gates may remove.

    Args:
        components: the components of the backbone.
        in_float: the float programs of :func:`probe_networks` by name.
    """
    shrinkable = [component for key, component in components.items() if component.role == "block" and key.outputs < 1.0]
    forms = sorted({is_pointwise(component.module) for component in shrinkable})
    probes: Probes = {}
    for pointwise, channels in product(forms, PROBED_CHANNELS):
        for number_format, model in in_both_formats(in_float[_name(pointwise, channels)], _samples()).items():
            probes[(number_format, pointwise), channels] = model
    return probes


def _samples() -> Tensor:
    values = PROBE_INPUTS * PROBE_SIZE * PROBE_SIZE
    return torch.linspace(-1, 1, values).view(1, PROBE_INPUTS, PROBE_SIZE, PROBE_SIZE)


def _convolution(pointwise: bool, channels: int) -> nn.Module:
    kernel, padding = (1, 0) if pointwise else (3, 1)
    return nn.Conv2d(PROBE_INPUTS, channels, kernel, padding=padding)


def _name(pointwise: bool, channels: int) -> str:
    return f"probe-{'pointwise' if pointwise else 'square'}-{channels}"


def is_pointwise(block: nn.Module) -> bool:
    """Return whether the largest channel-mixing convolution of a block has a kernel of one pixel."""
    mixing = [module for module in block.modules() if isinstance(module, nn.Conv2d) and module.groups == 1]
    return not mixing or math.prod(max(mixing, key=lambda layer: layer.weight.numel()).kernel_size) == 1


def tile_of(few_us: float, many_us: float) -> int:
    """Return the tile, from the microseconds of the two probed widths.

    >>> [tile_of(few_us, 64.0) for few_us in (40.5, 47.0, 66.0)]
    [8, 16, 32]
    """
    few, many = PROBED_CHANNELS
    ratio = few_us / many_us
    return min(TILE_CHANNELS, key=lambda tile: abs(ratio - math.ceil(few / tile) / math.ceil(many / tile)))
