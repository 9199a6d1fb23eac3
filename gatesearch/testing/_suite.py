"""Helpers of the conformance suites: a fixed random seed, and a loop over the tests of a suite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def fixed_torch_seed() -> Iterator[None]:
    """Seed PyTorch with 0 inside the block, and restore the CPU's random state after the block."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def run_suite(suite: object) -> None:
    """Run all tests of a suite without pytest, in the order of their names.

    The function is for code that builds many suites in a loop. A test is a method whose name begins with ``test_``.

    Args:
        suite: an instance of a suite, with its attributes set, such as kind, site and params.

    Raises:
        AssertionError: a test failed; the message says which promise is broken. The remaining tests do not run.

    >>> from gatesearch.gates.gc import GC
    >>> from gatesearch.graph.sites import CutSite
    >>> from gatesearch.testing.gates import CutGateConformance
    >>> class Suite(CutGateConformance):
    ...     kind = GC()
    ...     site = CutSite(
    ...         name="relu",
    ...         shape=(8, 5, 4),
    ...         macs_before=100,
    ...         macs_after=100,
    ...         params_before=10,
    ...         params_after=10,
    ...         node="relu",
    ...     )
    ...     params = {"keep": 0.5}
    >>> run_suite(Suite())
    """
    for name in dir(suite):
        if name.startswith("test_"):
            getattr(suite, name)()
