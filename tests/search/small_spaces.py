"""Spaces small enough to count by hand."""

from __future__ import annotations

import math

from gatesearch.graph.sites import CutSite
from gatesearch.search import Space, build_space


def site(name: str, *shape: int, before: int = 0, after: int = 0) -> CutSite:
    return CutSite(name, shape, before, after, 0, 0, name)


def small(**changes: object) -> Space:
    """Three sites, the first with one channel; two cores; 2 x 2 x 1 gates where channels can be thinned out."""
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


def plans_by_hand(space: Space) -> int:
    """Count plans without the space's own formula: one core is C, stages are fences and rises are rails."""
    total = 0
    for count in range(space.min_gates, space.max_gates + 1):
        for chosen in range(2 ** len(space.cut_slots)):
            picked = [s for i, s in enumerate(space.cut_slots) if chosen >> i & 1]
            if len(picked) == count:
                gates = math.prod(math.prod(len(v) for v in s.values("gc").values()) for s in picked)
                total += gates * rising(len(space.cores), count + 1)
    return total


def rising(cores: int, stages: int) -> int:
    """Count sequences of cores that never go back."""
    return 1 if stages == 0 else sum(rising(cores - first, stages - 1) for first in range(cores))
