"""The memory that a plan's stages take on a stream: programs, states, and ring buffers to catch up.

A stage that runs by hops computes only the new frames of a window at each decision. When its gate opens, it catches up:
it computes the whole window from a ring buffer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gatesearch.cost.blocks import END, variant_of
from gatesearch.cost.hop_table import HopTable
from gatesearch.cost.price import StageEstimate
from gatesearch.plan import PlacedGate

STATE_COPIES = 2  # a state goes into a program as one tensor and comes out of it as another


def with_hop_memory(
    windows: Sequence[StageEstimate],
    hops: Sequence[StageEstimate],
    table: HopTable,
    gates: Sequence[PlacedGate],
    crossing: Sequence[int],
) -> tuple[StageEstimate, ...]:
    """Return the stages of whole windows, each with the memory that it takes on a stream.

    The first stage runs at every hop and needs only the program for a hop. Each later stage runs on demand, and also
    needs the program for a whole window. The core before its gate stores the last window of the tensor that crosses the
    gate.

    Args:
        windows: the stages, each for a whole window.
        hops: the same stages, each for a hop.
        table: the costs of a hop.
        gates: the cut gates between the stages.
        crossing: number of values of a whole window that cross each gate.
    """
    stages = []
    for k, (window, hop) in enumerate(zip(windows, hops, strict=True)):
        names = _block_names(table, window)
        if k < len(gates):
            names.append(f"{variant_of(gates[k])}@{gates[k].site}")
        state = table.phases * STATE_COPIES * sum(table.states.get(name, 0) for name in names)
        buffer = crossing[k] if k < len(gates) else 0
        on_demand = k > 0
        stages.append(
            replace(
                window,
                flash_bytes=hop.flash_bytes + (window.flash_bytes if on_demand else 0.0),
                sram_bytes=max(hop.sram_bytes, window.sram_bytes) if on_demand else hop.sram_bytes,
                state_bytes=float(window.width * (state + buffer)),
            )
        )
    return tuple(stages)


def _block_names(table: HopTable, stage: StageEstimate) -> list[str]:
    """Return the names of the blocks of a stage."""
    names = table.table.sites
    first = names.index(stage.first_site) if stage.first_site in names else len(names)
    last = len(names) if stage.last_site == END else names.index(stage.last_site)
    return list(names[first:last])
