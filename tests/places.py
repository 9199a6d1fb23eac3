"""A context in which a test works in a folder of its own, with a cache inside it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from gatesearch.cost.sources.host import dispatch, executable, steady_timing

LONGEST_TIMING_S = 1.0
# What depends on this machine alone. Compiling the kernels takes ten seconds, and no test changes them.
SHARED = ("kernels", "tables/programs")


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Work in a folder, with a cache inside it, one torch thread, and timings of a second.

    Tests run beside each other, so timings would be repeated for as long as a run allows, and still be disturbed.
    """
    threads, own, shared = torch.get_num_threads(), folder / "cache" / "gatesearch", Path(_shared_cache().name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.chdir(folder)
        for module in (dispatch, executable, steady_timing):
            patch.setattr(module, "spread", _spread_briefly)
        torch.set_num_threads(1)
        _copy_shared(shared, own)
        yield
        _copy_shared(own, shared)
        torch.set_num_threads(threads)


_spread = steady_timing.spread


def _spread_briefly(groups: Any, seconds: float, least: float, **rest: Any) -> steady_timing.Settled:
    seconds = min(seconds, LONGEST_TIMING_S)
    return _spread(groups, seconds, min(least, seconds / 4), **rest)


@cache
def _shared_cache() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="gatesearch-cache-")  # removed at the end of the process


def _copy_shared(source: Path, target: Path) -> None:
    for name in SHARED:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, dirs_exist_ok=True)
