"""A block's reading as a function of the channels that gates leave at its two ends.

The work of a convolution or a linear layer is a product of its input and output channels; of a depthwise layer, a
normalisation or a pool it is linear in one of the two; a call costs something whatever the channels are. The sum of
such layers is therefore ``a + b i + c o + d i o``, with shares i of the block's input channels and o of its output
channels. Four readings, with all and with half of the channels on either side, determine the four coefficients, and
the surface is exact in between wherever time follows work.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Surface:
    """A reading ``a + b i + c o + d i o`` over the shares i, o of the channels at a block's input and output.

    Args:
        coefficients: a, b, c, d.
        channels: at the output, all of them.
        tile: output channels that one step of the core's inner loop computes together. Work then rises in steps: o
            counts tiles, and a tile that is begun is paid for in full.
    """

    coefficients: tuple[float, float, float, float]
    channels: int = 1
    tile: int = 1

    @classmethod
    def through(cls, corners: Mapping[tuple[float, float], float], channels: int = 1, tile: int = 1) -> Surface:
        """Fit a surface exactly through its corners.

        Args:
            corners: reading by (i, o). (1, 1) is required; one smaller share on each side is optional, and the surface
                does not depend on a side that has none. Where (i, o) itself is missing, the two savings add up.
            channels, tile: see the class.

        Returns:
            The surface; it is infinite everywhere where one of the readings is infinite.

        >>> surface = Surface.through({(1.0, 1.0): 10.0, (0.5, 1.0): 6.0, (1.0, 0.5): 5.0, (0.5, 0.5): 3.0})
        >>> surface(0.5, 1.0), surface(0.75, 1.0)
        (6.0, 8.0)
        >>> in_tiles = Surface.through({(1.0, 1.0): 10.0, (1.0, 0.5): 6.0}, channels=64, tile=32)
        >>> in_tiles(1.0, 0.4), in_tiles(1.0, 0.6)
        (6.0, 10.0)
        """
        if math.inf in corners.values():
            return cls((math.inf, 0.0, 0.0, 0.0))
        # In tiles, two output shares may be one; sorted order lets the reading of the larger share stand for both.
        corners = {(i, in_tiles(o, channels, tile)): corners[i, o] for i, o in sorted(corners)}
        i = min((corner[0] for corner in corners if corner[0] < 1.0), default=0.5)
        o = min((corner[1] for corner in corners if corner[1] < 1.0), default=0.5)
        both = corners[1.0, 1.0]
        less_in = corners.get((i, 1.0), both)
        less_out = corners.get((1.0, o), both)
        least = corners.get((i, o), less_in + less_out - both)
        # The mixed second difference is d's alone; the two first differences then leave b and c; the rest is a.
        d = (both - less_in - less_out + least) / ((1 - i) * (1 - o))
        b = (both - less_in) / (1 - i) - d
        c = (both - less_out) / (1 - o) - d
        return cls((both - b - c - d, b, c, d), channels, tile)

    def __call__(self, inputs: float, outputs: float) -> float:
        """Return the reading at shares i, o; an extrapolation below zero is zero."""
        a, b, c, d = self.coefficients
        outputs = self.share_of_tiles(outputs)
        return max(0.0, a + b * inputs + c * outputs + d * inputs * outputs)

    def share_of_tiles(self, outputs: float) -> float:
        """Return the share of the output's tiles that a share of its channels begins."""
        return in_tiles(outputs, self.channels, self.tile) if self.tile > 1 else outputs


def in_tiles(share: float, channels: int, tile: int) -> float:
    """Return the share of the tiles that a share of the channels begins.

    >>> in_tiles(0.51, 128, 32), in_tiles(0.51, 176, 1), in_tiles(0.5, 176, 32), in_tiles(0.25, 64, 32)
    (0.75, 0.51, 0.5, 0.25)
    >>> in_tiles(1.0, 16, 32), in_tiles(0.5, 16, 32)
    (1.0, 1.0)
    """
    return share if tile == 1 else _tiles(round(share * channels, 6), tile) / _tiles(channels, tile)


def _tiles(channels: float, tile: int) -> float:
    """Return the number of tiles; XNNPACK has a product of half a tile of 32 for 16 channels and fewer."""
    return 0.5 if channels <= 16 == tile // 2 else math.ceil(channels / tile)
