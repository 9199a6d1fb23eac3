"""The rungs of a search: what trainings had come to where they were judged, and who went on. Kept in the study.

A trial that ended keeps its own. Those of a training under way are an attribute of the study, written before the next
piece begins: a search that was cut off begins with those trainings, by the decisions that were taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial

from gatesearch.plan import GatePlan
from gatesearch.search.evaluation import Evaluated
from gatesearch.search.pruner import RUNGS, Halving, Standing, read, written

UNDER_WAY = "rungs "  # attribute of the study, with the plan's digest


class Proposal(NamedTuple):
    """How a plan was proposed: by which choices, for one plan has several; and which of the first proposals it is."""

    params: Mapping[str, Any]
    first: int | None


class Rungs:
    """Judges the trainings of a search.

    Args:
        rule: which trainings go on; None: all, and there are no rungs.
        finished: trials that ended, in order.
        kept: attributes of the study.
        keep: puts an attribute of the study on disk.
    """

    def __init__(
        self,
        rule: Halving | None,
        finished: Sequence[FrozenTrial],
        kept: Mapping[str, Any],
        keep: Callable[[str, Any], None],
    ) -> None:
        self._rule, self._keep = rule, keep
        self._courses: dict[str, dict[int, Standing]] = {}
        for trial in finished if rule else ():
            digest, told = GatePlan.from_json(trial.user_attrs["plan"]).digest, trial.user_attrs.get(RUNGS)
            if told is not None:
                self._courses.pop(digest, None)  # whoever went on comes later
                self._courses[digest] = read(told)
        self.unfinished: list[Proposal] = []
        for name, note in kept.items() if rule else ():
            digest, course = name.removeprefix(UNDER_WAY), read(note["rungs"]) if name.startswith(UNDER_WAY) else {}
            if len(course) > len(self._courses.get(digest, ())):
                self._courses[digest] = course
                self.unfinished.append(Proposal(note["params"], note["first"]))

    def next(self, plan: GatePlan) -> int | None:
        """Return the epoch after which a plan is judged next; None where it is trained to the end."""
        passed = max(self._courses.get(plan.digest, ()), default=0)
        return next((epoch for epoch in (self._rule.rungs if self._rule else ()) if epoch > passed), None)

    def judge(self, plan: GatePlan, epoch: int, found: Evaluated, proposal: Proposal) -> bool:
        """Judge a training after an epoch; whether it goes on, which is on disk then.

        Args:
            plan: that is trained.
            epoch: after which.
            found: what it has come to.
            proposal: by which it came.
        """
        assert self._rule is not None
        course = self._courses.pop(plan.digest, {})
        own = course[epoch] = Standing(found.objectives.minimised, dict(found.violations))
        goes_on = self._rule.keeps(epoch, own, list(self._courses.values()))
        self._courses[plan.digest] = course
        if goes_on:
            self._keep(UNDER_WAY + plan.digest, {**proposal._asdict(), "rungs": written(course)})
        return goes_on

    def end(self, trial: optuna.Trial, plan: GatePlan, found: Evaluated | None = None) -> None:
        """Note at a trial that ends what its training had come to; ``found`` is the end of a whole one."""
        if self._rule is None:
            return
        course = self._courses.setdefault(plan.digest, {})
        if found is not None:
            course[self._rule.epochs] = Standing(found.objectives.minimised, dict(found.violations))
        if course:
            trial.set_user_attr(RUNGS, written(course))
