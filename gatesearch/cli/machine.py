"""Finds out what this machine offers to a run: Python, extras, compilers, cores, and room on the disk."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from gatesearch._lib import plugins, revision, user_cache
from gatesearch._lib.cores import available_cores
from gatesearch._lib.format import format_si

PYTHON_RANGE = ((3, 11), (3, 13))
NEEDED_EXTRAS = ("export", "report")
"""The extras without which no run begins."""

EXTRA_COSTS = {
    "export": "no run: nothing times blocks on this machine, or writes a bundle",
    "report": "no run: no report.html, no figures, no curves in logs/",
    "data": "no WAV files (data.root), no data set digits",
    "speech": "no synthetic speech: recipes of words need data.root",
    "dashboard": "no `gatesearch dashboard`",
    "ray": "no search on several machines (search.executor=ray)",
    "postgresql": "no study in PostgreSQL (search.storage)",
}
"""What a run or a command cannot do without an extra."""

TOOLS = {
    "make": "no check of firmware, no sizes of flash and RAM",
    "arm-none-eabi-gcc": "no firmware images of Cortex-M, no flash and RAM in the report",
    "aarch64-linux-gnu-gcc": "no `measure board=cortex_a`",
    "qemu-system-arm": "no stack size of firmware, no `measure board=cortex_m4`",
    "qemu-aarch64": "no `measure board=cortex_a`",
}
"""Programs that no Python package brings, with what cannot be done without each."""

PACKAGES = (
    "apt-get install make gcc-arm-none-eabi libnewlib-arm-none-eabi gcc-aarch64-linux-gnu qemu-system-arm qemu-user"
)
"""The command that installs :data:`TOOLS` on Debian and Ubuntu."""

MIN_FREE_BYTES = 500e6  # a run folder of kws.yaml has 60 MB; checkpoints of larger networks take more


@dataclass(frozen=True, slots=True)
class Finding:
    """A property of this machine on which runs depend.

    Args:
        name: the property, in a word or two.
        value: what there is.
        state: whether that is enough: ``missing`` costs something, which ``cost`` says.
        needed: whether every run needs it.
        cost: what cannot be done while it is missing.
        remedy: the command that helps; empty if there is none.
    """

    name: str
    value: str
    state: Literal["ok", "missing"] = "ok"
    needed: bool = False
    cost: str = ""
    remedy: str = ""


def list_findings(runs: Path, cache: Path) -> Iterator[Finding]:
    """Yield the findings about this machine, the most important first.

    Args:
        runs: the folder in which runs are stored.
        cache: the user's cache folder.
    """
    yield _look_at_python()
    yield Finding("gatesearch", revision.revision().removeprefix("gatesearch "))
    yield _look_at_torch()
    for extra in plugins.EXTRAS:
        yield _look_at_extra(extra)
    yield _look_at_compiler()
    for tool, cost in TOOLS.items():
        path = shutil.which(tool)
        yield Finding(tool, path) if path else Finding(tool, "not on PATH", "missing", cost=cost, remedy=PACKAGES)
    yield _count_cores()
    yield _look_at_room("run folders", runs, needed=True)
    yield _look_at_room("cache", cache, needed=False)
    yield _look_at_owner(cache)


def _look_at_python() -> Finding:
    low, high = (".".join(map(str, end)) for end in PYTHON_RANGE)
    value = f"{'.'.join(map(str, sys.version_info[:3]))} (tested: {low} to {high})"
    if PYTHON_RANGE[0] <= sys.version_info[:2] <= PYTHON_RANGE[1]:
        return Finding("Python", value)
    return Finding("Python", value, "missing", True, "packages of the extras have no wheels for it")


def _look_at_torch() -> Finding:
    try:
        import torch

        from gatesearch.training.threads import count_threads
    except Exception as error:  # a broken installation fails in many ways
        value = f"cannot be imported: {type(error).__name__}: {error}"
        return Finding("torch", value, "missing", True, "no training", "pip install gatesearch -c constraints.txt")
    origin = "set by OMP_NUM_THREADS" if "OMP_NUM_THREADS" in os.environ else "as many as cores help"
    return Finding("torch", f"{torch.__version__}; threads of a run: {count_threads()}, {origin}")


def _look_at_extra(extra: str) -> Finding:
    name, needed = f"extra {extra}", extra in NEEDED_EXTRAS
    if missing := plugins.missing_packages(extra):
        command = f"pip install 'gatesearch[{extra}]'"
        return Finding(name, f"lacks {', '.join(missing)}", "missing", needed, EXTRA_COSTS[extra], command)
    value = "installed"
    if extra == "ray":
        value = f"Ray {version('ray')}; searches switch its usage reports off"
    return Finding(name, value, needed=needed)


def _look_at_compiler() -> Finding:
    from gatesearch.kernels import build

    try:
        return Finding("C compiler", build.Compiler.find().version)
    except build.BuildError as error:
        cost = "gated layers run in PyTorch here, slower, and have no prices by kernels"
        return Finding("C compiler", str(error), "missing", cost=cost, remedy="apt-get install gcc")


def _count_cores() -> Finding:
    return Finding("cores", f"{available_cores()} of {os.cpu_count()} (affinity and quota of this process)")


def _look_at_room(name: str, folder: Path, needed: bool) -> Finding:
    place = _first_existing(folder)
    free = shutil.disk_usage(place).free
    value = f"{folder}: {format_si(free, 'B')} free"
    if not os.access(place, os.W_OK | os.X_OK):
        return Finding(name, f"{place}: cannot be written", "missing", needed, "no file can be stored")
    if free < MIN_FREE_BYTES:
        return Finding(name, value, "missing", needed, f"a run may need {format_si(MIN_FREE_BYTES, 'B')}")
    return Finding(name, value)


def _look_at_owner(cache: Path) -> Finding:
    name = "cache's owner"
    if not cache.exists() and not cache.is_symlink():
        return Finding(name, "no cache yet; the first run makes it")
    fault = user_cache.find_fault(cache)
    if fault is None:
        return Finding(name, "you")
    cost = "kernels and timings are made again in each process"
    return Finding(name, f"{cache} {fault}", "missing", cost=cost, remedy="set XDG_CACHE_HOME to a folder of your own")


def _first_existing(folder: Path) -> Path:
    """Return a folder, or the nearest folder above it that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
