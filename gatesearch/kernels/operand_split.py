"""Splits signed inputs and nine-bit weights into operands that the precision-gating kernels multiply.

The kernels of precision gating multiply unsigned levels x by signed bytes w. If inputs are signed or weights have nine
bits, each channel of the input is split into several operands, each with its own weights:

* by sign: x = max(x, 0) - max(-x, 0). Both operands are unsigned; the second operand has the weights -w.
* by width: w = 2 (w >> 1) + (w & 1), so w x = (w >> 1) (2 x) + (w & 1) x. The first operand is the doubled level 2 x
  with the weight w >> 1, which fits a signed byte. The second operand is x with the weight w & 1.

All sums are exact whole numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gatesearch.gates.pg import BYTE, PGParams
from gatesearch.kernels.arrays import Array


class OperandSplit(NamedTuple):
    """The ways in which every channel of an input is split into operands.

    Args:
        sign: whether the input may be negative.
        wide: whether weights have 8 magnitude bits and a sign, 9 bits in all.
    """

    sign: bool = False
    wide: bool = False

    @classmethod
    def from_settings(cls, settings: PGParams, positive: bool) -> OperandSplit:
        """Return the split that a gate needs; ``positive`` says whether no input is negative."""
        return cls(not positive, settings.weight_bits == BYTE)

    @property
    def number(self) -> int:
        """Number of operands of a channel.

        >>> OperandSplit(sign=True, wide=True).number
        4
        """
        return (1 + self.sign) * (1 + self.wide)

    @classmethod
    def from_number(cls, number: int, wide_first: bool) -> OperandSplit:
        """Return a split into 1, 2 or 4 operands; for 2, ``wide_first`` selects the split by width, else by sign.

        >>> OperandSplit.from_number(2, wide_first=True)
        OperandSplit(sign=False, wide=True)
        """
        both = number == 4
        return cls(sign=both or (number == 2 and not wide_first), wide=both or (number == 2 and wide_first))

    def weights(self, levels: Array) -> Array:
        """Return the weights of all operands, int8 [c_out, number x c_in, ...], for weight levels [c_out, c_in, ...].

        >>> OperandSplit(sign=True, wide=True).weights(np.array([[255, -3]]))[0].tolist()
        [127, -2, 1, 1, -128, 1, 1, 1]
        """
        whole = levels.astype(np.int32)
        operands = [operand for side in (whole, -whole)[: 1 + self.sign] for operand in self._halves(side)]
        return np.ascontiguousarray(np.concatenate(operands, 1), np.int8)

    def levels(self, x: Array, step: float, bits: int, low_bits: int) -> Array:
        """Return the levels of all operands, [h, w, number x c_in], for an input [h, w, c_in] of ``PGConv``.

        Where weights are wide, one operand is the doubled level. Doubling must not carry the low bits into the high
        bits. So a level is stored with a free bit between: the high bits, one zero bit, then ``low_bits`` low bits.
        Doubling then moves the low bits into the free bit. ``PGConv`` splits such levels at ``low_bits + 1``.

        Args:
            x: real numbers.
            step: real value of a level.
            bits: number of bits of a level.
            low_bits: number of low bits, which precision gating multiplies only for the outputs that its mask opens.
        """
        whole = np.rint((x / np.float32(step)).clip(1 - 2**bits, 2**bits - 1)).astype(np.int32)
        operands = []
        for side in (whole, -whole)[: 1 + self.sign]:
            level = side.clip(0)
            if self.wide:
                level = ((level >> low_bits) << (low_bits + 1)) | (level & ((1 << low_bits) - 1))
            operands += [level * times for times in range(1 + self.wide, 0, -1)]
        return np.concatenate(operands, -1).astype(np.uint8 if bits + 2 * self.wide <= BYTE else np.uint16)

    def _halves(self, side: Array) -> list[Array]:
        return [side >> 1, side & 1] if self.wide else [side]
