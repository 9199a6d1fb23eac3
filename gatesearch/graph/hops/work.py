"""The cost of a network by hops: multiply-accumulates of a hop and of a whole window, and memory.

A part on demand computes a whole window when the gate before it opens: it catches up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from gatesearch.graph.hops.network import HopNetwork
from gatesearch.graph.operators import OperatorCounter
from gatesearch.graph.plain_weights import with_plain_weights


@dataclass(frozen=True, slots=True)
class HopWork:
    """Work and memory of one part of a plan.

    Args:
        hop_macs: multiply-accumulates of a hop.
        window_macs: multiply-accumulates of a whole window, when a part catches up.
        state: number of values that are stored from one hop to the next.
        buffer: number of values in the ring buffer from which a part on demand catches up: one window of its input.
    """

    hop_macs: int
    window_macs: int
    state: int
    buffer: int

    def macs(self, openings: float, open_hops: float) -> float:
        """Return the multiply-accumulates of a part that opens ``openings`` times and is open for ``open_hops`` hops.

        The part catches up at each hop at which it opens.

        >>> HopWork(hop_macs=10, window_macs=200, state=0, buffer=0).macs(openings=2, open_hops=12)
        500
        """
        return openings * self.window_macs + (open_hops - openings) * self.hop_macs

    def memory_bytes(self, bytes_per_value: int, on_demand: bool) -> int:
        """Return the bytes that the part stores between hops; a part on demand also stores its ring buffer."""
        return bytes_per_value * (self.state + (self.buffer if on_demand else 0))


@torch.no_grad()
def work_by_hop(network: HopNetwork) -> HopWork:
    """Return the work and memory of a network by hops.

    >>> net = torch.nn.Sequential(torch.nn.Conv1d(2, 4, 3), torch.nn.AdaptiveAvgPool1d(1)).eval()
    >>> work_by_hop(HopNetwork(net, (2, 10), time_axis=1, hop=2))
    HopWork(hop_macs=48, window_macs=192, state=28, buffer=20)
    """
    plain = with_plain_weights(network)
    assert isinstance(plain, HopNetwork)
    modes = {module: module.training for module in plain.modules()}
    plain.eval()
    weight = next(plain.parameters(), torch.zeros(()))
    window = weight.new_zeros(1, *plain.shape)
    fresh = window
    if plain.frames is not None:
        fresh = window.narrow(plain.frames.axis, plain.frames.first_fresh, plain.frames.fresh)
    with OperatorCounter() as whole:
        _, state = plain.catch_up(window)
    with OperatorCounter() as hop:
        plain(fresh, *state)
    for module, mode in modes.items():
        module.training = mode
    return HopWork(
        hop_macs=hop.macs,
        window_macs=whole.macs,
        state=plain.state_elements,
        buffer=math.prod(plain.shape),
    )
