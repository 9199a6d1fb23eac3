"""What a sampler knows of a study: the trials that ended, and the plans that are being tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from optuna import Study
from optuna.trial import TrialState

from gatesearch.plan import GatePlan
from gatesearch.search import pareto
from gatesearch.search.sampler.pass_rates import ReachShares
from gatesearch.search.space import Space

REACH_ATTR = "passed"  # user attribute of a trial: its reach shares


class EndedTrial(NamedTuple):
    """A trial of the space that ended.

    Args:
        plan: that it tried.
        minimised: error and the two costs; None where it was not trained.
        violations: by how much each constraint is broken; zero or less where it is kept.
        reached: the share of each kind of window that reached each stage; None where it was not reported.
    """

    plan: GatePlan
    minimised: tuple[float, ...] | None
    violations: Mapping[str, float]
    reached: ReachShares | None


class History:
    """The trials of one study.

    Args:
        space: of the plans. Trials of other spaces are passed over.

    Attributes:
        proposals: plans by trial number that were proposed and have not ended: a running trial may not have asked for
            its parameters yet.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._ended: dict[int, EndedTrial] = {}
        self.proposals: dict[int, GatePlan] = {}

    def read(self, study: Study, number: int) -> tuple[list[EndedTrial], list[GatePlan]]:
        """Return the trials that ended, in order, and the plans of those that are running.

        Args:
            study: to read.
            number: of the trial that asks, which is left out.
        """
        running = []
        for trial in study.get_trials(deepcopy=False):
            if trial.number in self._ended or trial.number == number:
                continue
            plan = self._space.read(trial.params)
            if trial.state == TrialState.RUNNING:
                plan = plan or self.proposals.get(trial.number)
            if plan is None:
                continue
            if trial.state == TrialState.RUNNING:
                running.append(plan)
            elif trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
                minimised = (1.0 - trial.values[0], *trial.values[1:]) if trial.values else None
                reached = trial.user_attrs.get(REACH_ATTR)
                self._ended[trial.number] = EndedTrial(plan, minimised, trial.constraints, reached)
        return [self._ended[key] for key in sorted(self._ended)], running


def feasible_front(trials: Sequence[EndedTrial]) -> list[EndedTrial]:
    """Return the trials that keep the constraints and that no other such trial dominates."""
    feasible = [one for one in trials if one.minimised and all(excess <= 0 for excess in one.violations.values())]
    indices = pareto.front([one.minimised for one in feasible if one.minimised])
    return [feasible[i] for i in indices]
