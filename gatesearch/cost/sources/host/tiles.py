"""The number of output channels that a convolution computes together on this host: its tile.

XNNPACK chooses a micro-kernel by processor and number format, and only timings show its width. With tiles of 32
channels, 40 and 64 channels are two tiles each and take equally long. With tiles of 8 they are five and eight tiles,
and their times are as 5 to 8. So two widths are timed, and the tile is the one whose ratio of steps fits best.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from itertools import product

import torch
from torch import nn

from gatesearch.compile.batch_convert import BatchConverter
from gatesearch.cost.blocks import Pieces
from gatesearch.cost.programs import in_both_formats

PROBED_CHANNELS = (40, 64)
TILE_CHANNELS = (8, 16, 32)
Probes = dict[tuple[Hashable, int], bytes]  # by (number format, pointwise) and output channels


def probe_programs(pieces: Pieces, converter: BatchConverter) -> Probes:
    """Return convolutions of the probed widths, of the forms that end a block with removable output channels."""
    x = torch.linspace(-1, 1, 64 * 20 * 20).view(1, 64, 20, 20)
    shrinkable = [piece for key, piece in pieces.items() if piece.role == "block" and key.outputs < 1.0]
    forms = list(product(sorted({is_pointwise(piece.module) for piece in shrinkable}), PROBED_CHANNELS))
    layers = [
        nn.Conv2d(64, channels, 1) if pointwise else nn.Conv2d(64, channels, 3, padding=1)
        for pointwise, channels in forms
    ]
    probes: Probes = {}
    for (pointwise, channels), programs in zip(forms, in_both_formats(layers, x, converter), strict=True):
        for number_format, model in programs.items():
            probes[(number_format, pointwise), channels] = model
    return probes


def is_pointwise(block: nn.Module) -> bool:
    """Say whether the largest convolution of a block that mixes channels has a kernel of one pixel."""
    mixing = [module for module in block.modules() if isinstance(module, nn.Conv2d) and module.groups == 1]
    return not mixing or math.prod(max(mixing, key=lambda layer: layer.weight.numel()).kernel_size) == 1


def tile_of(few_us: float, many_us: float) -> int:
    """Return the number of output channels computed together, given the microseconds of the two probed widths.

    >>> [tile_of(few_us, 64.0) for few_us in (40.5, 47.0, 66.0)]
    [8, 16, 32]
    """
    few, many = PROBED_CHANNELS
    ratio = few_us / many_us
    return min(TILE_CHANNELS, key=lambda tile: abs(ratio - math.ceil(few / tile) / math.ceil(many / tile)))
