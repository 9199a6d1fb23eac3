"""Helpers of the conformance suites: a fixed random seed, and a loop over the tests of a suite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def fixed_torch_seed() -> Iterator[None]:
    """Seed torch with 0 inside the block, and restore torch's global random state (of the CPU) after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def run_suite(suite: object) -> None:
    """Call every method of a suite whose name begins with ``test_``, in the order of the names, without pytest.

    This serves code that builds many suites in a loop.

    Args:
        suite: an instance whose attributes (kind, site, params) are set.

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
