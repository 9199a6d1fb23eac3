"""Counts the processor cores that this process may use, and adapts its threads to other processes on these cores."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
WAIT_SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")  # environment variables by which a user says how threads wait
BUSY_LOAD = 1.5  # threads per core above which threads wait for each other most of the time


def available_cores(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """Return the number of cores that the process may keep busy, at least 1.

    Args:
        cgroups: folder in which the control groups of Linux are mounted.
        membership: file that lists the control groups of the process.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = min(_quotas(cgroups, membership), default=math.inf)
    return allowed if quota >= allowed else max(1, math.ceil(quota))


def _quotas(cgroups: Path, membership: Path) -> Iterator[float]:
    """Yield the CPU quota (in cores) of each Linux control group, of version 1 or 2, that contains the process."""
    try:
        groups = [line.strip().split(":", 2)[1:] for line in membership.read_text().splitlines()]
    except OSError:
        return
    for controllers, path in groups:
        is_first_version = "cpu" in controllers.split(",")
        if controllers and not is_first_version:
            continue
        root = cgroups / "cpu" if is_first_version else cgroups
        relative = Path(path.lstrip("/"))
        for group in (relative, *relative.parents):
            quota = _first_version(root / group) if is_first_version else _second_version(root / group)
            if quota is not None:
                yield quota


def _second_version(group: Path) -> float | None:
    try:
        quota, period = (group / "cpu.max").read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):  # no such file, or "max", which stands for no quota
        return None


def _first_version(group: Path) -> float | None:
    try:
        quota, period = (int((group / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 else None


def describe_load(threads: int) -> str | None:
    """Return a line that says that the machine has too few cores for all threads; None if it has enough.

    Args:
        threads: number of threads that this process will keep busy.
    """
    if not hasattr(os, "getloadavg"):
        return None
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load + threads <= BUSY_LOAD * cores:
        return None
    return (
        f"the machine is busy: {load:.0f} threads run or wait on {cores} cores, and this run adds {threads}; a step of "
        "training may take many times as long, and timings may be wrong"
    )


def choose_wait_policy() -> None:
    """Let threads of OpenMP sleep while they wait for each other, if other processes use this machine's cores as well.

    By default, a waiting thread keeps its core busy. If another process has the core of the thread that the others wait
    for, this lasts for a time slice, at each of the hundreds of operations of a training step. On free cores, the
    default is faster. OpenMP reads the setting once, when torch is imported; from then on, this function does nothing.
    It leaves a choice of the user as it is.
    """
    if "torch" in sys.modules or not hasattr(os, "getloadavg") or any(name in os.environ for name in WAIT_SETTINGS):
        return
    if os.getloadavg()[0] + available_cores() > (os.cpu_count() or 1) + 0.5:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
