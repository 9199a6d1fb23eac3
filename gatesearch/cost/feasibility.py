"""Whether a device can run the stages of a plan: memory, operators, float layers and links."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from gatesearch.cost.price import StageEstimate
from gatesearch.devices.profile import Device


def memory_overflows(device: Device, estimates: Sequence[StageEstimate]) -> dict[str, float]:
    """Return by how much each memory is exceeded, as a share of its size; empty if everything fits.

    The flash of a core holds the weights of all its stages. Its SRAM holds the activations of one stage at a time.
    """
    overflows: dict[str, float] = {}
    for core in device.cores:
        on_core = [estimate for estimate in estimates if estimate.cost.core == core.name]
        used = {
            "flash": sum(estimate.flash_bytes for estimate in on_core) / (core.memory.flash_kib * 1024),
            "sram": max((estimate.sram_bytes for estimate in on_core), default=0.0) / (core.memory.sram_kib * 1024),
        }
        overflows.update({f"{core.name}.{memory}": share - 1 for memory, share in used.items() if share > 1})
    return overflows


def violations(
    device: Device, estimates: Sequence[StageEstimate], cores: Sequence[str], gated_cores: Iterable[str]
) -> dict[str, float]:
    """Return every reason why a device cannot run a plan, each with a number above 0; empty if it can.

    Besides :func:`memory_overflows` these are operators that a core does not have (``"npu.operators"``), gated layers
    on a core that runs int8 programs only (``"mcu.gated layers"``), and missing links (``"no link mcu to app"``).

    Args:
        device: the device.
        estimates: the stages of the plan.
        cores: the core of every stage, and before them the core of the front end.
        gated_cores: the core of every gated layer.
    """
    broken = memory_overflows(device, estimates)
    for estimate in estimates:
        if any(math.isinf(run.latency_us) for run in estimate.runs):
            broken[f"{estimate.cost.core}.operators"] = 1.0
    for core in gated_cores:
        if not device.core(core).runs_float:  # int8 programs have no gated layers
            broken[f"{core}.gated layers"] = 1.0
    for before, core in pairwise(cores):
        if before != core and device.link(before, core) is None:
            broken[f"no link {before} to {core}"] = 1.0
    return broken
