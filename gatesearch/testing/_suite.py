"""What all conformance suites share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded() -> Iterator[None]:
    """Draw the same numbers in every test, and leave the global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def check_suite(suite: object) -> None:
    """Run every test of a suite, for those who build many in a loop.

    Raises:
        AssertionError: a promise is broken; the message says which.

    >>> from gatesearch.gates.gc import GC
    >>> from gatesearch.graph.sites import CutSite
    >>> from gatesearch.testing.gates import CutGateConformance
    >>> class Suite(CutGateConformance):
    ...     kind, site, params = GC(), CutSite("here", (8, 5, 4), 100, 100, 10, 10, "here"), {"keep": 0.5}
    >>> check_suite(Suite())
    """
    for name in dir(suite):
        if name.startswith("test_"):
            getattr(suite, name)()
