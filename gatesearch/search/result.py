"""The result of a search: its trials, the front, the ranking of plans and the hypervolume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gatesearch.errors import UserError
from gatesearch.plan import GatePlan
from gatesearch.search import pareto
from gatesearch.search.evaluation import PREFERENCES, Objectives

TRAINED_STATES = ("complete", "pruned")
METHOD, TRAINED, COMPOSED = "method", "trained", "composed"  # the key of a trial's detail, and its values


@dataclass(frozen=True, slots=True)
class Trial:
    """One proposal and its outcome.

    Args:
        number: the index of the proposal, from 0. An interrupted proposal does not count, so a resumed search has the
            same numbers as an uninterrupted one.
        plan: the plan that was proposed.
        state: ``complete`` (trained), ``pruned`` (a scheduler of Ray Tune stopped it), ``priced_out`` (its price alone
            breaks a constraint; not trained), ``duplicate`` (proposed before; not tried again) or ``failed`` (it
            raised an error).
        objectives: the objectives; None where the plan was not trained to the end.
        feasible: whether the plan keeps all constraints.
        details: values that the evaluation stored beside objectives and constraints.
        error: the reason of a failure, in one line; None where the trial did not fail.
    """

    number: int
    plan: GatePlan
    state: str
    objectives: Objectives | None
    feasible: bool
    details: Mapping[str, Any] = field(default_factory=dict, compare=False)
    error: str | None = None

    @property
    def method(self) -> str | None:
        """How the figures arose: the plan was trained, or composed of heads; None where the trial is not complete."""
        return self.details.get(METHOD, TRAINED) if self.state == "complete" else None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """All trials of a search, in order."""

    trials: tuple[Trial, ...]

    @property
    def complete(self) -> tuple[Trial, ...]:
        """The trials that were trained to the end."""
        return tuple(t for t in self.trials if t.state == "complete")

    @property
    def trained(self) -> tuple[Trial, ...]:
        """The trials that were trained, to the end or until a scheduler stopped them."""
        return tuple(t for t in self.trials if t.state in TRAINED_STATES)

    def epochs(self, per_training: int) -> int:
        """Return the total number of epochs of all complete trainings, at ``per_training`` epochs each."""
        return per_training * len({trial.plan for trial in self.complete if trial.method == TRAINED})

    @property
    def front(self) -> tuple[Trial, ...]:
        """The feasible trials that no other feasible trial dominates."""
        feasible = [t for t in self.complete if t.feasible and t.objectives is not None]
        indices = pareto.front([t.objectives.minimised for t in feasible if t.objectives is not None])
        return tuple(feasible[i] for i in indices)

    def rank_plans(self, objective: str, tolerance: float = 0.0) -> list[Trial]:
        """Return feasible plans in the order in which they should be retrained.

        With a tolerance of 0, the result holds the plans of the front, the best in the objective first.

        With a larger tolerance, all feasible plans with gates that lie within the tolerance come first, even plans that
        are not on the front. Among them, plans with fewer gates come first. The rest of the front follows. If the best
        plan has no gates, the tolerance does not apply.

        The tolerance has two reasons. Short trainings do not separate plans whose objectives are nearly equal. The best
        of many measured values is too good by chance. Breiman et al. (1984, "Classification and Regression Trees",
        section 3.4.3) likewise take the simplest tree within one standard error of the best.

        Args:
            objective: the objective that decides, "energy", "latency" or "accuracy".
            tolerance: relative distance from the best value within which plans count as equal.

        Raises:
            UserError: no plan keeps the constraints.
        """
        if not self.front:
            accuracies = [t.objectives.accuracy for t in self.complete if t.objectives]
            best = max(accuracies, default=0.0)
            raise UserError(
                f"search: none of {len(self.complete)} tried plans keeps the constraints on quality; the most accurate "
                f"reaches {best:.3f}; relax the bounds on quality under constraints, or raise search.trials or "
                "search.epochs"
            )
        values = {t.number: PREFERENCES[objective](t.objectives) for t in self.complete if t.feasible and t.objectives}
        by_value = sorted(self.front, key=lambda t: values[t.number])
        best_value = values[by_value[0].number][0]
        limit = best_value + tolerance * abs(best_value)
        near: list[Trial] = []
        if tolerance and by_value[0].plan.gates:
            gated = [t for t in self.complete if t.number in values and t.plan.gates]
            near = [t for t in gated if values[t.number][0] <= limit]
            near.sort(key=lambda t: (len(t.plan.gates), values[t.number]))
        return near + [t for t in by_value if t not in near]

    def hypervolume(self, reference: Objectives) -> list[float]:
        """Return the hypervolume after each complete trial; each objective is divided by that of the reference."""
        volumes: list[float] = []
        volume = GrowingVolume(reference)
        for trial in self.complete:
            if trial.feasible and trial.objectives is not None:
                volume.add(trial.objectives)
            volumes.append(volume.value)
        return volumes


class GrowingVolume:
    """The hypervolume of a growing front, computed again only when the front changes.

    Args:
        reference: the corner up to which volume counts; each objective is divided by that of the corner.
    """

    def __init__(self, reference: Objectives) -> None:
        self._reference = reference.minimised
        self._front: list[tuple[float, ...]] = []
        self.value = 0.0

    def add(self, objectives: Objectives) -> None:
        """Add the objectives of a feasible plan."""
        point = tuple(value / corner for value, corner in zip(objectives.minimised, self._reference, strict=True))
        if point in self._front or any(pareto.dominates(other, point) for other in self._front):
            return
        self._front = [other for other in self._front if not pareto.dominates(point, other)] + [point]
        self.value = pareto.hypervolume(self._front, (1.0, 1.0, 1.0))
