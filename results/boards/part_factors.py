"""The factor of each part: instructions of gatesearch's kernels in a cycle of its core, from published latencies."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from results.boards.comparison import Comparison, closest, is_close
from results.boards.instructions import CoreInstructions
from results.boards.published import Part, Published, System


@dataclass(frozen=True)
class PartFactor:
    """The factor of a part.

    Args:
        part: key of the part.
        instructions_per_cycle: instructions of gatesearch's kernels in a cycle of the core.
        source: the arithmetic in words.
        is_tested: whether the price with this factor predicts some software on the part, or on a part with the same
            core, within the target.
    """

    part: str
    instructions_per_cycle: float
    source: str
    is_tested: bool


def part_factors(
    published: Published, comparisons: Iterable[Comparison], cores: Mapping[str, CoreInstructions]
) -> dict[str, PartFactor]:
    """Return the factor of each part that has figures and a kernel table.

    The factor comes from the software whose latencies the price predicts best. If no software of the part is predicted
    within the target, the factor of another part with the same core is taken, divided by the ratio of the cycles that
    the same software takes on both parts. Without such a part, the factor is the part's own, and not tested.
    """
    listed = list(comparisons)
    best = closest(listed)
    factors = {}
    for key in dict.fromkeys(system.part for system in published.systems):
        part = published.parts[key]
        own = best.get(key)
        if own is not None and is_close(own.errors):
            factors[key] = PartFactor(key, own.instructions_per_cycle, describe(own.system), True)
        elif (moved := _from_same_core(published, key, best)) is not None:
            factors[key] = moved
        elif own is not None:
            factors[key] = PartFactor(key, own.instructions_per_cycle, describe(own.system), False)
        elif part.table is not None and part.table in cores:
            system = next(system for system in published.systems if system.part == key)
            only = Comparison(part, system, cores[part.table])
            source = f"{describe(system)}: {', '.join(system.ms)} alone"
            factors[key] = PartFactor(key, only.instructions_per_cycle, source, False)
    return factors


def describe(system: System) -> str:
    """Return organisation and round of a system."""
    return f"{system.organisation}, {system.round}"


def _from_same_core(published: Published, key: str, best: Mapping[str, Comparison]) -> PartFactor | None:
    """Return the factor of another part with the same core, corrected by software of both parts; None without one."""
    part = published.parts[key]
    candidates = []
    for other, comparison in best.items():
        if other == key or comparison.part.core != part.core or not is_close(comparison.errors):
            continue
        for own, theirs in _common_software(published, key, other):
            tasks = own.ms.keys() & theirs.ms.keys()
            ratio = _cycles(part, own, tasks) / _cycles(comparison.part, theirs, tasks)
            value = comparison.instructions_per_cycle / ratio
            source = (
                f"{comparison.part.title}'s {comparison.instructions_per_cycle:.3f} ({describe(comparison.system)}) / "
                f"{ratio:.3f}, the cycles of {describe(own)} on both parts"
            )
            candidates.append((-len(own.ms), PartFactor(key, value, source, True)))
    return min(candidates, key=lambda candidate: candidate[0])[1] if candidates else None


def _common_software(published: Published, one: str, other: str) -> list[tuple[System, System]]:
    """Return the pairs of systems of two parts that have the same organisation and round."""
    return [
        (own, theirs)
        for own in published.systems
        for theirs in published.systems
        if (own.part, theirs.part) == (one, other) and describe(own) == describe(theirs)
    ]


def _cycles(part: Part, system: System, tasks: Collection[str]) -> float:
    """Return the geometric mean of the cycles that a system takes for some networks."""
    return math.exp(sum(math.log(system.ms[task] * part.mhz) for task in tasks) / len(tasks))
