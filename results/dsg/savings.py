"""The savings of gated layers: dense computation divided by the remaining one, by the papers' formulas and exactly."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from gatesearch.gates.work import LayerWork


def average_bits(bits: int, high_bits: int, sparsity: float) -> float:
    """Return B_avg = B_hb + (1 - Sp) (B - B_hb): every output gets the high bits, the open ones the low bits as well.

    Eq. 1 of Huang et al. 2020 has B_lb and B_hb exchanged. Its own Table 2 shows that this is a misprint: at 8/2 bits
    and a sparsity of 62.83 % it gives 4.23, where Eq. 1 as printed would be 6.74.

    >>> round(average_bits(8, 2, 0.6283), 2)
    4.23
    """
    return high_bits + (1 - sparsity) * (bits - high_bits)


def saving(bits: int, average: float) -> float:
    """Return the saving of PG alone, B / B_avg (Huang et al. 2020, Eq. 2).

    >>> saving(8, average_bits(8, 4, 1.0))
    2.0
    """
    return bits / average


def approximate_saving(channel_saving: float, bits: int, average_bits: float) -> float:
    """Return the saving of FBS and PG together by Eq. 3 of Huang et al. 2020: the saving in MACs, times B / B_avg.

    The paper calls it an approximation: B_avg is a mean over outputs, as if all took the same work.

    Args:
        channel_saving: how many times fewer MACs FBS leaves.
        bits: B.
        average_bits: B_avg; see :func:`average_bits`.

    >>> round(approximate_saving(1 / 0.9**2, 8, average_bits(8, 4, 0.7148)), 2)  # the paper's headline
    1.92
    """
    return channel_saving * saving(bits, average_bits)


class GatedLayer(NamedTuple):
    """A gated layer in its network.

    Args:
        macs: the MACs of the layer when dense.
        work: what is left of it.
        input_density: share of its input channels that is computed: the density of the layer before, 1.0 where that has
            no gate.
    """

    macs: int
    work: LayerWork
    input_density: float


def exact_saving(layers: Iterable[GatedLayer], bits: int, rest: float = 0.0) -> float:
    """Return how many times less a network has to compute, summed layer by layer and call by call.

    As in the paper, a MAC at b bits of the activation counts b / B, and the bits of the weights stay what they are.

    Args:
        layers: all that have a gate, with PG, FBS or both.
        bits: B, at which the dense network and the gates' own parts compute.
        rest: MACs of layers without a gate.

    >>> from gatesearch.gates.work import Call
    >>> calls = Call((4, 8), (("channel", 0.5),)), Call((4, 8), (("channel", 0.5), ("element", 0.5)))
    >>> work = LayerWork(calls=calls, macs=40.0, params=10, density=0.5)
    >>> exact_saving([GatedLayer(1000, work, input_density=0.8)], bits=8)  # 1000 / (800 (.5 + .25) / 2 + 40)
    2.9411764705882355
    """
    dense = remaining = float(rest)
    for macs, work, input_density in layers:
        dense += macs
        remaining += macs * input_density * sum(call.share * call.bits[0] / bits for call in work.calls) + work.macs
    return dense / remaining
