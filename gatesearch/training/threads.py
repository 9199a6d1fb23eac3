"""Sets PyTorch's number of threads to the number of cores that the process may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gatesearch._lib import console
from gatesearch._lib.cores import available_cores, describe_load


def count_threads() -> int:
    """Return the number of threads that PyTorch uses in a run."""
    threads = torch.get_num_threads()
    return threads if "OMP_NUM_THREADS" in os.environ else min(threads, available_cores())


@contextmanager
def fitting_threads() -> Iterator[None]:
    """Let PyTorch use no more threads than cores, and warn if other processes use these cores as well.

    With more threads than cores, each operation waits for a thread that does not run, and a step takes many times as
    long. PyTorch ignores the CPU quota of a container, so its default number of threads may be too high. A number that
    the user sets by OMP_NUM_THREADS is not changed.
    """
    threads = torch.get_num_threads()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(count_threads())
    if line := describe_load(torch.get_num_threads()):
        console.warn(line)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
