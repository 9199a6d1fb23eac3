"""Replays: an engine proposes plans of a table and is told what the table says, in no time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gatesearch.plan import GatePlan
from results.search.table import Table

PROPOSALS = 10  # times the evaluations, at most: an engine that repeats itself comes to an end


class Step(NamedTuple):
    """One evaluation: of which plan, up to which epoch, and how many epochs of training it took."""

    plan: int
    epoch: int
    trained: int


@dataclass
class Trace:
    """What an engine did with a table.

    Args:
        steps: evaluations in order.
        repeats: proposals of plans that were evaluated before; answered again, and not counted.
        priced_out: proposals that no training was needed to rule out.
        seconds: that suggestions took.
        cut: whether there were too many repeats to go on.
    """

    steps: list[Step] = field(default_factory=list)
    repeats: int = 0
    priced_out: int = 0
    seconds: list[float] = field(default_factory=list)
    cut: bool = False

    @property
    def plans(self) -> list[int]:
        """Plans that were evaluated at least once, in that order."""
        return list(dict.fromkeys(step.plan for step in self.steps))


class Budget(Exception):
    """The evaluations are spent."""


class Replay:
    """Answers for a table, and keeps the account.

    Args:
        table: that answers.
        evaluations: how many whole trainings may be spent; a plan that is trained on pays for the epochs that it
            lacks, and one whose gates were trained with other cores pays as if they had not been.
    """

    def __init__(self, table: Table, evaluations: int) -> None:
        self.table, self.trace = table, Trace()
        self._left = evaluations * table.epochs
        self._proposals = PROPOSALS * evaluations * table.epochs
        self._known: dict[int, int] = {}

    def ask(self, plan: GatePlan, epoch: int | None = None) -> int | None:
        """Return the number of a proposed plan; None where the device cannot run it.

        Args:
            plan: proposed.
            epoch: up to which it is trained; None to the end.

        Raises:
            Budget: no more may be evaluated.
        """
        epoch = self.table.epochs if epoch is None else epoch
        number = self.table.index[plan]
        trained = epoch - self._known.get(number, 0)
        self._proposals -= epoch
        if trained > self._left or not self._left:
            raise Budget
        if self._proposals < 0:
            self.trace.cut = True
            raise Budget
        if not self.table.allowed[number]:
            self.trace.priced_out += 1
            return None
        if trained <= 0:
            self.trace.repeats += 1
        else:
            self._known[number] = epoch
            self._left -= trained
            self.trace.steps.append(Step(number, epoch, trained))
        return number

    def timed(self, suggest: Callable[[], Any]) -> Any:
        """Return a suggestion; its time is noted."""
        started = time.perf_counter()
        suggestion = suggest()
        self.trace.seconds.append(time.perf_counter() - started)
        return suggestion

    def over(self, number: int, epoch: int | None = None) -> float:
        """Return by how much a plan breaks the constraint after an epoch; None: in the end."""
        return self.table.point(number, epoch)[0] - self.table.limit


def volumes(table: Table, steps: Sequence[Step]) -> list[float]:
    """Return the share of the true hypervolume after each evaluation; only plans that were trained to the end count."""
    front: list[int] = []
    curve = [0.0]
    for step in steps:
        here = table.point(step.plan)
        beaten = any(all(a <= b for a, b in zip(table.point(i), here, strict=True)) for i in front)
        volume = curve[-1]
        if step.epoch == table.epochs and table.errors[step.plan, -1] <= table.limit and not beaten:
            front = [i for i in front if any(a < b for a, b in zip(table.point(i), here, strict=True))] + [step.plan]
            volume = table.volume(front)
        curve.append(volume)
    return curve[1:]
