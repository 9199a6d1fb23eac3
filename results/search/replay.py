"""Replays a search on a table of recorded trainings: outcomes are looked up, and nothing is trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gatesearch.plan import GatePlan
from results.search.table import Table

PROPOSALS = 10  # largest number of proposals divided by evaluations; this limit stops engines that only repeat plans


class Step(NamedTuple):
    """One evaluation: the plan's index, the epoch that its training reached, and the epochs that were trained."""

    plan: int
    epoch: int
    trained: int


@dataclass
class Trace:
    """The evaluations of one engine on one table.

    Args:
        steps: evaluations in order.
        repeats: number of proposals of plans that were evaluated before; they get the same outcome and cost nothing.
        priced_out: number of proposals that the device cannot run.
        seconds: duration of each suggestion.
        cut: whether the limit of proposals ended the replay.
    """

    steps: list[Step] = field(default_factory=list)
    repeats: int = 0
    priced_out: int = 0
    seconds: list[float] = field(default_factory=list)
    cut: bool = False

    @property
    def plans(self) -> list[int]:
        """The indices of the evaluated plans, each once, in order."""
        return list(dict.fromkeys(step.plan for step in self.steps))


class Budget(Exception):
    """Raised when an engine has no evaluations left."""


class Replay:
    """Looks up proposed plans in a table, and counts their evaluations.

    Args:
        table: the recorded outcomes.
        evaluations: budget in whole trainings. If a training continues, only its new epochs count. A plan with the same
            gates as an evaluated plan, but on other cores, counts as a whole training.
    """

    def __init__(self, table: Table, evaluations: int) -> None:
        self.table, self.trace = table, Trace()
        self._epochs_left = evaluations * table.epochs
        self._proposals_left = PROPOSALS * evaluations * table.epochs
        self._trained_epochs: dict[int, int] = {}

    def ask(self, plan: GatePlan, epoch: int | None = None) -> int | None:
        """Return the index of a proposed plan; None if the device cannot run the plan.

        Args:
            plan: the proposed plan.
            epoch: the last epoch of its training; None for a whole training.

        Raises:
            Budget: the evaluations are spent.
        """
        epoch = self.table.epochs if epoch is None else epoch
        number = self.table.index[plan]
        trained = epoch - self._trained_epochs.get(number, 0)
        self._proposals_left -= epoch
        if trained > self._epochs_left or not self._epochs_left:
            raise Budget
        if self._proposals_left < 0:
            self.trace.cut = True
            raise Budget
        if not self.table.allowed[number]:
            self.trace.priced_out += 1
            return None
        if trained <= 0:
            self.trace.repeats += 1
        else:
            self._trained_epochs[number] = epoch
            self._epochs_left -= trained
            self.trace.steps.append(Step(number, epoch, trained))
        return number

    def timed(self, suggest: Callable[[], Any]) -> Any:
        """Call ``suggest``, record its duration and return its suggestion."""
        start = time.perf_counter()
        suggestion = suggest()
        self.trace.seconds.append(time.perf_counter() - start)
        return suggestion

    def excess(self, number: int, epoch: int | None = None) -> float:
        """Return by how much a plan's error exceeds the constraint after an epoch; None: after a whole training."""
        return self.table.point(number, epoch)[0] - self.table.limit


def volumes(table: Table, steps: Sequence[Step]) -> list[float]:
    """Return the share of the true hypervolume after each evaluation; only plans trained to the end count."""
    front: list[int] = []
    curve = [0.0]
    for step in steps:
        point = table.point(step.plan)
        is_dominated = any(all(a <= b for a, b in zip(table.point(i), point, strict=True)) for i in front)
        volume = curve[-1]
        if step.epoch == table.epochs and table.errors[step.plan, -1] <= table.limit and not is_dominated:
            front = [i for i in front if any(a < b for a, b in zip(table.point(i), point, strict=True))] + [step.plan]
            volume = table.volume(front)
        curve.append(volume)
    return curve[1:]
