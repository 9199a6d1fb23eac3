"""Computes the saving of gated layers: the work without gates, divided by the work that remains with gates.

One saving follows the formulas of the paper, the other is counted layer by layer. The paper is Huang et al. 2020,
"Pushing the Envelope of Dynamic Spatial Gating technologies". PG (precision gating) computes an output from B_hb high
bits if its gate is closed, and from all B bits if its gate is open. B_lb = B - B_hb is the number of low bits. FBS
(feature boosting and suppression) computes only a share of the channels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from gatesearch.gates.work import LayerWork


def average_bits(bits: int, high_bits: int, sparsity: float) -> float:
    """Return B_avg = B_hb + (1 - Sp) (B - B_hb), the mean bits of an output, where Sp is the sparsity.

    Every output uses the high bits, and a share 1 - Sp of the outputs uses the low bits, too. In Eq. 1 of Huang et al.
    2020, B_lb and B_hb are exchanged. This is a misprint: at 8/2 bits and a sparsity of 62.83 %, the paper's Table 2
    prints 4.23. The formula above gives 4.23, and Eq. 1 as printed gives 6.74.

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

    MACs are multiply-accumulates. The paper calls Eq. 3 an approximation, because B_avg is a mean over outputs that
    counts every output as equal work.

    Args:
        channel_saving: the MACs without FBS, divided by the MACs that remain with FBS.
        bits: B, the bits of an output.
        average_bits: B_avg of :func:`average_bits`.

    >>> round(approximate_saving(1 / 0.9**2, 8, average_bits(8, 4, 0.7148)), 2)  # the paper's headline
    1.92
    """
    return channel_saving * saving(bits, average_bits)


class GatedLayer(NamedTuple):
    """The work of a gated layer in its network.

    Args:
        macs: MACs of the layer without a gate.
        work: the work that remains with the gate.
        input_density: share of the layer's input channels that is computed: the density of the layer before, or 1.0 if
            that layer has no gate.
    """

    macs: int
    work: LayerWork
    input_density: float


def exact_saving(layers: Iterable[GatedLayer], bits: int, rest: float = 0.0) -> float:
    """Return the work of a network without gates, divided by its remaining work; both are sums over all layers.

    As in the paper, a MAC on an activation of b bits counts b / B. The bits of the weight do not matter.

    Args:
        layers: all layers with PG, FBS or both.
        bits: B, the bits of activations in the network without gates, and in the computations of the gates themselves.
        rest: MACs of all layers without a gate.

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
