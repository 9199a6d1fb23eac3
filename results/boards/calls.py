"""The kernel calls of a network, their prices by a core's kernel table, and their kinds of layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import torch

from gatesearch.cost.sources.board.call_counter import CallCounter, macs_of_call
from gatesearch.cost.sources.board.table import BoardCosts
from gatesearch.gates import KernelCall
from results.boards.networks import Reference

KINDS = ("convolution", "pointwise", "depthwise", "dense", "other")
Calls = Mapping[KernelCall, int]  # how often a network makes each call


@torch.no_grad()
def kernel_calls(reference: Reference) -> Calls:
    """Return the kernel calls of a network in int8, with their numbers.

    Raises:
        ValueError: an operator has products but no kernel.
    """
    network = reference.network()
    with CallCounter(network) as counter:
        network(torch.zeros(1, *reference.shape))
    if counter.others:
        raise ValueError(f"{reference.title}: no kernel for {', '.join(counter.others)}")
    return Counter(counter.calls)


def kind(call: KernelCall) -> str:
    """Return the kind of layer of a call, one of :data:`KINDS`.

    >>> kind(KernelCall("conv", (1, 1, 64, 12, 1, 1, 1, 1, 0, 0, 1, 1)))
    'dense'
    """
    if not macs_of_call(call):
        return "other"
    if call.kernel == "depthwise":
        return "depthwise"
    pixels, taps = call.shape[0] * call.shape[1], call.shape[4] * call.shape[5]
    if taps > 1:
        return "convolution"
    return "pointwise" if pixels > 1 else "dense"


def macs(calls: Calls) -> float:
    """Return the multiply-accumulates of a network's calls."""
    return sum(number * macs_of_call(call) for call, number in calls.items())


def price(costs: BoardCosts, calls: Calls) -> float:
    """Return the reading that a core's kernel table predicts for a network.

    Raises:
        ValueError: the table lacks a kernel.
    """

    def reading(call: KernelCall) -> float:
        value = costs.reading(call)
        if value is None:
            raise ValueError(f"the table has no kernel {call.kernel}")
        return value

    return add_up(calls, reading)


def add_up(calls: Calls, reading: Callable[[KernelCall], float]) -> float:
    """Return the sum of the readings of all calls."""
    return sum(number * reading(call) for call, number in calls.items())


def by_kind(calls: Calls) -> dict[str, Calls]:
    """Return the calls of each kind of layer, for the kinds that occur."""
    return {
        name: own for name in KINDS if (own := {call: number for call, number in calls.items() if kind(call) == name})
    }
