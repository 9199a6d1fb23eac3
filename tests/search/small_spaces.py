"""Search spaces so small that their plans can be counted by hand, and functions that count them."""

from __future__ import annotations

import math

from gatesearch.graph.sites import CutSite
from gatesearch.search import Space, build_space


def site(name: str, *shape: int, before: int = 0, after: int = 0) -> CutSite:
    return CutSite(name, shape, before, after, 0, 0, name)


def small(**changes: object) -> Space:
    """Return a space of three sites and two cores; ``changes`` replace arguments of :func:`build_space`."""
    sites = (
        site("input", 1, 6, 4, after=300),
        site("stem", 4, 3, 2, before=100, after=200),
        site("block", 4, 3, 2, before=200, after=100),
    )
    arguments = {
        "cores": ("mcu", "npu"),
        "kinds": {"gc": {"mode": ["channel", "activation"], "keep": [0.5, 1.0], "recall": [0.99]}},
        "max_gates": 2,
    }
    return build_space(sites, **{**arguments, **changes})  # type: ignore[arg-type]


def count_plans_by_hand(space: Space) -> int:
    """Count plans by enumeration, to test the formula of the space."""
    total = 0
    for count in range(space.min_gates, space.max_gates + 1):
        for bits in range(2 ** len(space.cut_slots)):
            slots = [s for i, s in enumerate(space.cut_slots) if bits >> i & 1]
            if len(slots) == count:
                gates = math.prod(math.prod(len(v) for v in s.values("gc").values()) for s in slots)
                total += gates * count_core_sequences(len(space.cores), count + 1)
    return total


def count_core_sequences(cores: int, stages: int) -> int:
    """Return the number of ways to give each stage a core that is not earlier than the core of the stage before it."""
    return 1 if stages == 0 else sum(count_core_sequences(cores - first, stages - 1) for first in range(cores))
