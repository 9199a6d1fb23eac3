"""The instructions of the reference networks on a core: as its kernel table predicts them, and as QEMU counts them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from gatesearch.cost.sources.board import table
from gatesearch.frontends import LogMel
from gatesearch.gates import KernelCall
from results.boards.calls import Calls, add_up, by_kind, kernel_calls, macs, price
from results.boards.counting import Counts
from results.boards.networks import NETWORKS, WAKE_WORD

STREAM = "sww"  # MLPerf Tiny's name of the streaming wake word
TABLES = ("cortex_m4", "cortex_m33", "cortex_m55")  # kernel tables of Cortex-M cores


@dataclass(frozen=True)
class CoreInstructions:
    """The instructions of each network on a core.

    Args:
        core: description of the core.
        predicted: instructions by task, from the kernel table.
        counted: instructions by task, from QEMU.
        counted_by_kind: by task and kind of layer, instructions from QEMU.
        predicted_front_end, counted_front_end: instructions of a frame of the streaming wake word's front end.
        tools: versions of compiler and emulator, and the digest of the kernels' sources.
    """

    core: str
    predicted: Mapping[str, float]
    counted: Mapping[str, float]
    counted_by_kind: Mapping[str, Mapping[str, float]]
    predicted_front_end: float
    counted_front_end: float
    tools: Mapping[str, str]

    @property
    def table_error(self) -> float:
        """Largest relative error of the kernel table, over the networks."""
        return max(abs(predicted / self.counted[task] - 1) for task, predicted in self.predicted.items())


@cache
def network_calls() -> Mapping[str, Calls]:
    """Return the kernel calls of every network by task."""
    return {task: kernel_calls(reference) for task, reference in {**NETWORKS, STREAM: WAKE_WORD}.items()}


@cache
def front_end_call() -> KernelCall:
    """Return the kernel call of a frame of the wake word's front end: 40 filters up to 8 kHz, 64 ms every 32 ms."""
    call = LogMel(seconds=0.992, window_ms=64, stride_ms=32, fft=1024, low_hz=0, high_hz=8000).frame_call()
    assert call is not None
    return KernelCall(*call)


@cache
def macs_by_kind() -> Mapping[str, Mapping[str, float]]:
    """Return the multiply-accumulates by task and kind of layer."""
    return {task: {kind: macs(own) for kind, own in by_kind(calls).items()} for task, calls in network_calls().items()}


def distinct_calls() -> tuple[KernelCall, ...]:
    """Return the kernel calls of all networks and of the front end, each once."""
    calls = (call for calls in network_calls().values() for call in calls)
    return tuple(dict.fromkeys((*calls, front_end_call())))


def predicted_instructions(core: str) -> dict[str, float]:
    """Return the instructions of each network by task, as a core's kernel table predicts them."""
    costs = table.load("table", core).costs
    return {task: price(costs, calls) for task, calls in network_calls().items()}


def predicted_front_end(core: str) -> float:
    """Return the instructions of a frame of the wake word's front end, as a core's kernel table predicts them."""
    return price(table.load("table", core).costs, {front_end_call(): 1})


def core_instructions(core: str, counts: Counts, tools: Mapping[str, str]) -> CoreInstructions:
    """Return predicted and counted instructions on a core.

    Args:
        core: name of its kernel table.
        counts: counted instructions of each call of :func:`distinct_calls`.
        tools: versions of compiler and emulator, and the digest of the kernels' sources.
    """
    calls = network_calls()
    return CoreInstructions(
        core=table.load("table", core).core,
        predicted=predicted_instructions(core),
        counted={task: add_up(own, counts.__getitem__) for task, own in calls.items()},
        counted_by_kind={
            task: {kind: add_up(part, counts.__getitem__) for kind, part in by_kind(own).items()}
            for task, own in calls.items()
        },
        predicted_front_end=predicted_front_end(core),
        counted_front_end=counts[front_end_call()],
        tools=tools,
    )
