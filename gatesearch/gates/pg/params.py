"""Parameters of a Precision Gating gate: bits of input and weights, mask, thresholds' target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from gatesearch.gates.params import GateError, GateParams, param
from gatesearch.gates.pg.arithmetic import MASKS
from gatesearch.gates.quantise import BITS, UNQUANTISED
from gatesearch.plan import Scalar

BYTE = 8
MOST_WEIGHT_BITS = 64
WEIGHT_BITS = f"a whole number from 1 to {BITS} nor {UNQUANTISED} or None, which leave the weights as they are"


@dataclass(frozen=True)
class PGParams(GateParams):
    """Parameters of a ``pg`` gate.

    >>> PGParams.read({"bits": 4, "high_bits": 2}).weight_bits, PGParams.read({"weight_bits": None}).weight_bits
    (4, 32)
    """

    bits: int = param(8, choices=(4, 8), low=1, high=BITS, doc="B, magnitude bits of the input")
    high_bits: int = param(
        4, choices=(2, 4), low=1, doc="B_hb, bits that are computed for every output; with B_hb = B, no output is gated"
    )
    mask: str = param(
        "3d", choices=tuple(MASKS), among=tuple(MASKS), new_program=True, doc="which outputs share a decision"
    )
    target: float = param(
        0.0,
        choices=(2.0, 1.0, 0.5, 0.0),
        doc="delta, towards which the loss pulls the thresholds, in units of the output",
    )
    weight_bits: int = param(
        8, doc="magnitude bits of the weights; default: those of the input; None or 32 and more: no quantisation"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.high_bits > self.bits:
            raise GateError(f"high_bits: {self.high_bits!r} is not a whole number from 1 to bits, {self.bits}")
        if not (1 <= self.weight_bits <= BITS or UNQUANTISED <= self.weight_bits <= MOST_WEIGHT_BITS):
            raise GateError(f"weight_bits: {self.weight_bits!r} is neither {WEIGHT_BITS}")

    @classmethod
    def read(cls, written: Mapping[str, Scalar]) -> Self:
        """Return an instance with a plan's parameters.

        ``weight_bits`` defaults to ``bits``. None becomes 32, which leaves the weights as they are.
        """
        filled = {"weight_bits": written.get("bits", cls.bits), **written}
        if filled["weight_bits"] is None:
            filled["weight_bits"] = UNQUANTISED
        return super().read(filled)

    @property
    def low_bits(self) -> int:
        """B_lb, the number of low bits, which only open outputs get."""
        return self.bits - self.high_bits

    @property
    def for_kernel(self) -> bool:
        """Whether the kernels support these bits.

        Weights may have up to eight bits and a sign. The high bits have to fit into a byte, and so do the low bits.
        Kernels split weights of eight bits into two parts and double the inputs of one part. So with such weights,
        there may be at most seven high bits and seven low bits.
        """
        most = BYTE - (self.weight_bits == BYTE)
        return self.weight_bits <= BYTE and self.low_bits <= most and self.high_bits <= most

    def count_operands(self, positive: bool) -> int:
        """Return the number of operands into which kernels split a channel: 1, 2 or 4.

        The number doubles for eight-bit weights, which have two parts. It doubles again for inputs that can be
        negative.
        """
        return (1 + (self.weight_bits == BYTE)) * (1 + (not positive))
