"""Checks whether a device can run a plan: memory, operators, layers, links and speed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from gatesearch.cost.price import StageEstimate
from gatesearch.cost.utilisation import MAX_UTILISATION
from gatesearch.devices.profile import Device


def memory_overflows(device: Device, estimates: Sequence[StageEstimate]) -> dict[str, float]:
    """Return the excess of each memory that is too small, as a share of its size; empty if everything fits.

    The flash of a core holds the programs of all its stages. Its SRAM holds the tensors of one stage at a time, and the
    states that all its stages keep from hop to hop.
    """
    overflows: dict[str, float] = {}
    for name, used in memory_bytes(estimates).items():
        memory = device.core(name).memory
        shares = {"flash": used["flash"] / (memory.flash_kib * 1024), "sram": used["sram"] / (memory.sram_kib * 1024)}
        overflows |= {f"{name}.{kind}": share - 1 for kind, share in shares.items() if share > 1}
    return overflows


def memory_bytes(estimates: Sequence[StageEstimate]) -> dict[str, dict[str, float]]:
    """Return the bytes of flash and of SRAM that the stages take, by core; see :func:`memory_overflows`."""
    used = {}
    for name in dict.fromkeys(estimate.cost.core for estimate in estimates):
        on_core = [estimate for estimate in estimates if estimate.cost.core == name]
        used[name] = {"flash": sum(estimate.flash_bytes for estimate in on_core), "sram": _used_sram(on_core)}
    return used


def _used_sram(estimates: Sequence[StageEstimate]) -> float:
    largest = max((estimate.sram_bytes for estimate in estimates), default=0.0)
    return largest + sum(estimate.state_bytes for estimate in estimates)


def violations(
    device: Device, estimates: Sequence[StageEstimate], cores: Sequence[str], gated_cores: Iterable[str]
) -> dict[str, float]:
    """Return every reason why a device cannot run a plan, each with a number above 0; empty if it can.

    The reasons are:

    - a memory that is too small, see :func:`memory_overflows`;
    - an operator that a core does not have (``"npu.operators"``);
    - gated layers on a core that runs only int8 programs (``"mcu.gated layers"``);
    - a link that does not exist (``"no link mcu to app"``).

    Args:
        device: the device.
        estimates: the stages of the plan.
        cores: the core of the front end, followed by the core of every stage.
        gated_cores: the core of every gated layer.
    """
    broken = memory_overflows(device, estimates)
    for estimate in estimates:
        if any(math.isinf(run.latency_us) for run in estimate.runs):
            broken[f"{estimate.cost.core}.operators"] = 1.0
    for core in gated_cores:
        if not device.core(core).runs_float:  # gated layers have no int8 form
            broken[f"{core}.gated layers"] = 1.0
    for before, core in pairwise(cores):
        if before != core and device.link(before, core) is None:
            broken[f"no link {before} to {core}"] = 1.0
    return broken


def overloads(
    mean: Mapping[str, float], worst: Mapping[str, float], max_utilisation: float | None = MAX_UTILISATION
) -> dict[str, float]:
    """Return the excess of each core that is too busy for the stream, as a share of the period; empty if all keep up.

    The keys for a core ``app`` are ``"app.utilisation"`` (worst case) and ``"app.mean utilisation"``.

    Args:
        mean: by core, the mean share of the period for which it is busy.
        worst: by core, the share of the period for which it is busy if every window takes the core's worst path.
        max_utilisation: bound on the worst share; None for no such bound.
    """
    limit = math.inf if max_utilisation is None else max_utilisation
    excesses = {f"{core}.utilisation": share - limit for core, share in worst.items()}
    excesses |= {f"{core}.mean utilisation": share - MAX_UTILISATION for core, share in mean.items()}
    # Infinite shares are left out: they mean a core that cannot run a stage at all, which violations() reports.
    return {name: excess for name, excess in excesses.items() if 0 < excess < math.inf}
