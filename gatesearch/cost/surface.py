"""The cost of a block as a function of the shares of channels that remain at its input and output.

The measured or estimated cost is called a *reading*. Gates at cuts remove channels. The work of a convolution or a
linear layer is proportional to the product of its input and output channels. The work of a depthwise layer, a
normalisation or a pool is proportional to one of these two numbers. A call has a fixed cost. A block is a sum of such
layers, so its reading is ``a + b i + c o + d i o``. Here, i is the share of input channels that remains, and o is the
share of output channels. Four readings, with all and with half of the channels on either side, determine the four
coefficients a, b, c and d. Between these four points the surface is exact if time is proportional to work.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Surface:
    """A reading ``a + b i + c o + d i o`` over the shares i, o of the channels at a block's input and output.

    Args:
        coefficients: a, b, c, d, in the unit of the reading.
        channels: number of output channels when none is removed.
        tile: output channels that one step of the core's inner loop computes together. A partly filled tile costs as
            much as a full one, so work rises in steps, and o is then a share of tiles.
    """

    coefficients: tuple[float, float, float, float]
    channels: int = 1
    tile: int = 1

    @classmethod
    def fit(cls, corners: Mapping[tuple[float, float], float], channels: int = 1, tile: int = 1) -> Surface:
        """Fit the surface that passes exactly through up to four corner readings.

        Args:
            corners: reading by (i, o). (1, 1) is required. One smaller share on each side is optional: without it the
                surface is constant along that side. If the corner with both smaller shares is missing, d is zero: the
                savings of the two sides add up.
            channels: number of output channels when none is removed.
            tile: output channels that one step of the core's inner loop computes together.

        Returns:
            The surface. If any corner is infinite (the core cannot run that program), it is infinite everywhere.

        >>> surface = Surface.fit({(1.0, 1.0): 10.0, (0.5, 1.0): 6.0, (1.0, 0.5): 5.0, (0.5, 0.5): 3.0})
        >>> surface(0.5, 1.0), surface(0.75, 1.0)
        (6.0, 8.0)
        >>> in_tiles = Surface.fit({(1.0, 1.0): 10.0, (1.0, 0.5): 6.0}, channels=64, tile=32)
        >>> in_tiles(1.0, 0.4), in_tiles(1.0, 0.6)
        (6.0, 10.0)
        """
        if math.inf in corners.values():
            return cls((math.inf, 0.0, 0.0, 0.0))
        # Two output shares may fill equally many tiles. In sorted order, the reading of the larger share replaces that
        # of the smaller share.
        corners = {(i, in_tiles(o, channels, tile)): corners[i, o] for i, o in sorted(corners)}
        # Without a smaller share on a side, the readings there are equal, and 0.5 only avoids a division by zero.
        i = min((corner[0] for corner in corners if corner[0] < 1.0), default=0.5)
        o = min((corner[1] for corner in corners if corner[1] < 1.0), default=0.5)
        full = corners[1.0, 1.0]
        fewer_inputs = corners.get((i, 1.0), full)
        fewer_outputs = corners.get((1.0, o), full)
        fewer_both = corners.get((i, o), fewer_inputs + fewer_outputs - full)
        # With f(i, o) = a + b i + c o + d i o:
        #   f(1, 1) - f(i, 1) - f(1, o) + f(i, o) = d (1 - i)(1 - o)
        #   f(1, 1) - f(i, 1)                     = (b + d)(1 - i)
        #   f(1, 1) - f(1, o)                     = (c + d)(1 - o)
        d = (full - fewer_inputs - fewer_outputs + fewer_both) / ((1 - i) * (1 - o))
        b = (full - fewer_inputs) / (1 - i) - d
        c = (full - fewer_outputs) / (1 - o) - d
        return cls((full - b - c - d, b, c, d), channels, tile)

    def __call__(self, inputs: float, outputs: float) -> float:
        """Return the reading at the shares i and o; an extrapolation below zero counts as zero."""
        a, b, c, d = self.coefficients
        outputs = self.share_of_tiles(outputs)
        return max(0.0, a + b * inputs + c * outputs + d * inputs * outputs)

    def share_of_tiles(self, outputs: float) -> float:
        """Return the share of the output's tiles that a share of its channels occupies."""
        return in_tiles(outputs, self.channels, self.tile) if self.tile > 1 else outputs


def in_tiles(share: float, channels: int, tile: int) -> float:
    """Return the share of all tiles that a share of the channels occupies, partly filled tiles included.

    >>> in_tiles(0.51, 128, 32), in_tiles(0.51, 176, 1), in_tiles(0.5, 176, 32), in_tiles(0.25, 64, 32)
    (0.75, 0.51, 0.5, 0.25)
    >>> in_tiles(1.0, 16, 32), in_tiles(0.5, 16, 32)
    (1.0, 1.0)
    """
    return share if tile == 1 else _tiles(round(share * channels, 6), tile) / _tiles(channels, tile)


def _tiles(channels: float, tile: int) -> float:
    """Return the number of tiles; with tiles of 32, XNNPACK computes up to 16 channels as half a tile."""
    return 0.5 if channels <= 16 == tile // 2 else math.ceil(channels / tile)
