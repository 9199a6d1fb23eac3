"""Reads a study for the sampler: the ended trials, and the plans of running trials.

Each trial is read once after it ends, however long the study grows. This reading updates the front and the distinct
combinations of gates.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from gatesearch.errors import UserError
from gatesearch.plan import GatePlan
from gatesearch.search import pareto
from gatesearch.search.slots import Gates
from gatesearch.search.space import Space

REACH_ATTR = "passed"  # user attribute of a trial: for each kind of window, the share that reaches each stage
PLAN_CLAIM = "gatesearch:plan"  # system attribute of a trial: the plan that the sampler chose, as JSON
FIXED_PARAMS = "fixed_params"  # system attribute of Optuna: the parameters of a trial that a user enqueued


class EndedTrial(NamedTuple):
    """A trial of the space that ended.

    Args:
        number: the number of the trial in its study.
        plan: the plan that the trial tried.
        minimised: the error and the two costs; None where the plan was not trained.
        violations: by how much the plan breaks each constraint; zero or less where it keeps the constraint.
        reached: the share of each kind of window that reached each stage, [kinds, stages]; None if the trial reported
            no shares.
    """

    number: int
    plan: GatePlan
    minimised: tuple[float, ...] | None
    violations: Mapping[str, float]
    reached: npt.NDArray[np.float64] | None

    @property
    def is_feasible(self) -> bool:
        """Whether the plan was trained and keeps all constraints."""
        return self.minimised is not None and all(excess <= 0 for excess in self.violations.values())


class History:
    """The trials of one study.

    Args:
        space: the space of the plans. Trials of other spaces are ignored.
        kinds: the kinds of windows, in order.

    Attributes:
        count: number of trials that ended complete or pruned.
        plans: the plans of all ended trials, failed trials included.
        gates: the gates of these plans.
        observations: for each combination of gates, its latest trained trial.
        front: the feasible trials that no other trial dominates, in the order of their numbers.
        constraints: names of all constraints.
    """

    def __init__(self, space: Space, kinds: Sequence[str]) -> None:
        self._space, self._kinds = space, tuple(kinds)
        self._read_count = 0  # number of trials that were read
        self._under_way: list[int] = []  # numbers of the trials that were read before they ended
        self._first: dict[Gates, int] = {}  # number of the first trained trial of each combination
        self._first_numbers: list[int] = []  # the values of _first, in order
        self._in_order: list[EndedTrial] = []  # the observations, in the order of _first_numbers
        self.count = 0
        self.plans: set[GatePlan] = set()
        self.gates: set[Gates] = set()
        self.observations: dict[Gates, EndedTrial] = {}
        self.front: list[EndedTrial] = []
        self.constraints: set[str] = set()

    def read(self, study: Study, number: int) -> list[GatePlan]:
        """Read the trials that ended since the last call; return the plans that are running or wait to run.

        Args:
            study: the study to read.
            number: the number of the trial for which the sampler reads; the plan of this trial is left out.

        Raises:
            UserError: a trial reports an impossible accuracy or share.
        """
        trials = study.get_trials(deepcopy=False)  # trial number k is item k of the list
        plans, numbers = [], []
        for k in [*self._under_way, *range(self._read_count, len(trials))]:
            if trials[k].state.is_finished():
                self._add(trials[k])
                continue
            numbers.append(k)
            if k != number and (plan := self._plan_under_way(trials[k])):
                plans.append(plan)
        self._under_way, self._read_count = numbers, len(trials)
        return plans

    def first_observations(self, count: int | None = None) -> list[EndedTrial]:
        """Return the first ``count`` observations, or all, in the order in which their gates were first tried."""
        return self._in_order[:count]

    def places(self, trials: Sequence[EndedTrial]) -> list[int]:
        """Return, for each of some trials, the index of its gates in :meth:`first_observations`."""
        return [bisect_left(self._first_numbers, self._first[ended.plan.gates]) for ended in trials]

    def _plan_under_way(self, trial: FrozenTrial) -> GatePlan | None:
        """Return the plan of a trial that runs or waits: from its parameters or, before it has any, from its claim."""
        plan = self._space.read({**trial.system_attrs.get(FIXED_PARAMS, {}), **trial.params})
        return plan or read_claim(trial)

    def _add(self, trial: FrozenTrial) -> None:
        """Add a trial that ended. The plan of a failed trial counts as tried, but it is no observation."""
        plan = self._space.read(trial.params)
        if plan is None:
            return
        self.plans.add(plan)
        self.gates.add(plan.gates)
        if trial.state == TrialState.FAIL:
            return
        self.count += 1
        reached = trial.user_attrs.get(REACH_ATTR)
        ended = EndedTrial(
            number=trial.number,
            plan=plan,
            minimised=_minimise(trial),
            violations=trial.constraints,
            reached=self._check_reach(trial.number, plan, reached) if reached else None,
        )
        if ended.minimised is not None:
            self.constraints.update(ended.violations)
            self._observe(ended)
        if ended.is_feasible:
            self._add_to_front(ended)

    def _observe(self, ended: EndedTrial) -> None:
        """Store a trial as the latest one of its gates; combinations keep the order of their first trials."""
        gates = ended.plan.gates
        first, latest = ended.number, ended
        if gates in self.observations:
            place = bisect_left(self._first_numbers, self._first[gates])
            del self._first_numbers[place], self._in_order[place]
            # Trials may end in another order than that of their numbers, so ``first`` and ``latest`` compare numbers.
            first, latest = min(first, self._first[gates]), max(ended, self.observations[gates], key=_number_of)
        place = bisect_left(self._first_numbers, first)
        self._first_numbers.insert(place, first)
        self._in_order.insert(place, latest)
        self._first[gates], self.observations[gates] = first, latest

    def _add_to_front(self, ended: EndedTrial) -> None:
        assert ended.minimised is not None
        if any(pareto.dominates(other.minimised, ended.minimised) for other in self.front if other.minimised):
            return
        self.front = [o for o in self.front if o.minimised and not pareto.dominates(ended.minimised, o.minimised)]
        insort(self.front, ended, key=_number_of)

    def _check_reach(self, number: int, plan: GatePlan, reached: Any) -> npt.NDArray[np.float64]:
        """Return the shares that a trial reports, as an array [kinds, stages], after a check of their number and range.

        Raises:
            UserError: a kind of window is missing, or a share is missing or out of range.
        """
        stages = len(plan.cores)
        where = f"GateSampler: trial {number}: user attribute {REACH_ATTR!r}"
        if not isinstance(reached, Mapping):
            raise UserError(f"{where}: {reached!r}: for each kind of window, the share that reaches each stage")
        for kind in self._kinds:
            if kind not in reached:
                raise UserError(f"{where} has no {kind!r}; the sampler's shares name {', '.join(self._kinds)}")
            row = reached[kind]
            if len(row) != stages:
                raise UserError(f"{where}: {kind!r} has {len(row)} shares; the plan has {stages} stages")
            if not all(math.isfinite(share) and 0 <= share <= 1 for share in row):
                raise UserError(f"{where}: {kind!r}: {list(row)}: shares are between 0 and 1")
        return np.array([reached[kind] for kind in self._kinds], dtype=float).reshape(len(self._kinds), stages)


def read_claim(trial: FrozenTrial) -> GatePlan | None:
    """Return the plan that a sampler claimed for a trial; None where the trial has no claim."""
    claim = trial.system_attrs.get(PLAN_CLAIM)
    return None if claim is None else GatePlan.from_json(claim)


def _minimise(trial: FrozenTrial) -> tuple[float, ...] | None:
    """Return the error and the costs of a trial; None if it has no finite values.

    Raises:
        UserError: the accuracy is above 1.
    """
    if not trial.values or not all(map(math.isfinite, trial.values)):
        return None
    accuracy, *costs = trial.values
    if accuracy > 1:
        raise UserError(
            f"GateSampler: trial {trial.number} has accuracy {accuracy:g}; the first objective is a share, at most 1"
        )
    return (1.0 - accuracy, *costs)


def _number_of(trial: EndedTrial) -> int:
    return trial.number
