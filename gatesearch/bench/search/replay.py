"""Replays: an engine proposes plans of a table and is told what the table says, in no time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from gatesearch.bench.search.table import Table
from gatesearch.plan import GatePlan

PROPOSALS = 6  # times the evaluations, at most: an engine that repeats itself comes to an end


@dataclass
class Trace:
    """What an engine did with a table.

    Args:
        plans: evaluated, in order, each once.
        repeats: proposals of plans that were evaluated before; answered again, and not counted.
        priced_out: proposals that no training was needed to rule out.
        seconds: that suggestions took.
    """

    plans: list[int] = field(default_factory=list)
    repeats: int = 0
    priced_out: int = 0
    seconds: list[float] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the trace as JSON-ready values."""
        return {
            "plans": self.plans,
            "repeats": self.repeats,
            "priced_out": self.priced_out,
            "seconds": [round(s, 6) for s in self.seconds],
        }


class Budget(Exception):
    """The evaluations are spent."""


class Replay:
    """Answers for a table, and keeps the account.

    Args:
        table: that answers.
        evaluations: how many plans may be evaluated.
    """

    def __init__(self, table: Table, evaluations: int) -> None:
        self.table, self._evaluations = table, evaluations
        self.trace = Trace()
        self._known: set[int] = set()
        self._proposals = 0

    def ask(self, plan: GatePlan) -> int | None:
        """Return the number of a proposed plan; None where the device cannot run it.

        Raises:
            Budget: no more may be evaluated.
        """
        if len(self.trace.plans) >= self._evaluations or self._proposals >= PROPOSALS * self._evaluations:
            raise Budget
        self._proposals += 1
        number = self.table.index[plan]
        if not self.table.allowed[number]:
            self.trace.priced_out += 1
            return None
        if number in self._known:
            self.trace.repeats += 1
        else:
            self._known.add(number)
            self.trace.plans.append(number)
        return number

    def timed(self, suggest: Callable[[], Any]) -> Any:
        """Return a suggestion; its time is noted."""
        started = time.perf_counter()
        found = suggest()
        self.trace.seconds.append(time.perf_counter() - started)
        return found

    def over(self, number: int) -> float:
        """Return by how much a plan breaks the constraint."""
        return float(self.table.errors[number, -1]) - self.table.limit


def volumes(table: Table, plans: Sequence[int]) -> Iterator[float]:
    """Yield the share of the true hypervolume after each evaluation."""
    front: list[int] = []
    points = {i: table.point(i) for i in plans}
    volume = 0.0
    for i in plans:
        beaten = any(all(a <= b for a, b in zip(points[j], points[i], strict=True)) for j in front)
        if table.errors[i, -1] <= table.limit and not beaten:
            front = [j for j in front if any(a < b for a, b in zip(points[j], points[i], strict=True))] + [i]
            volume = table.volume(front)
        yield volume
