"""Inputs of any sign and weights of nine bits for kernels that multiply levels that are not negative by bytes.

A channel of the input then comes in several pieces, each with weights of its own: what is positive and what is
negative, and each doubled and as it is, since w = 2 (w >> 1) + (w & 1). All sums stay whole numbers, and exact.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gatesearch.gates.pg import BYTE, PGParams
from gatesearch.kernels.arrays import Array


class Pieces(NamedTuple):
    """How often a channel of the input is there.

    Args:
        sign: whether the input may be negative.
        wide: whether weights have 8 magnitude bits, and a sign.
    """

    sign: bool = False
    wide: bool = False

    @classmethod
    def of(cls, settings: PGParams, positive: bool) -> Pieces:
        """Return what a gate's arithmetic needs on an input that is not negative, or on any."""
        return cls(not positive, settings.weight_bits == BYTE)

    @property
    def number(self) -> int:
        """Pieces of a channel.

        >>> Pieces(sign=True, wide=True).number
        4
        """
        return (1 + self.sign) * (1 + self.wide)

    def weights(self, levels: Array) -> Array:
        """Return levels [c_out, c_in, ...] of weights as int8 [c_out, number c_in, ...].

        >>> Pieces(sign=True, wide=True).weights(np.array([[255, -3]]))[0].tolist()
        [127, -2, 1, 1, -128, 1, 1, 1]
        """
        whole = levels.astype(np.int32)
        parts = [part for side in (whole, -whole)[: 1 + self.sign] for part in self._parts(side)]
        return np.ascontiguousarray(np.concatenate(parts, 1), np.int8)

    def levels(self, x: Array, step: float, bits: int, low_bits: int) -> Array:
        """Return the levels of an input [h, w, c_in], by pieces: [h, w, number c_in], as ``PGConv`` reads them."""
        whole = np.rint((x / np.float32(step)).clip(1 - 2**bits, 2**bits - 1)).astype(np.int32)
        made = []
        for side in (whole, -whole)[: 1 + self.sign]:
            level = side.clip(0)
            if self.wide:
                level = ((level >> low_bits) << (low_bits + 1)) | (level & ((1 << low_bits) - 1))
            made += [level * times for times in range(1 + self.wide, 0, -1)]
        return np.concatenate(made, -1).astype(np.uint8 if bits + 2 * self.wide <= BYTE else np.uint16)

    def _parts(self, side: Array) -> list[Array]:
        return [side >> 1, side & 1] if self.wide else [side]
