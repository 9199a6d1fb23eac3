"""Finds the plans that a user chooses from the trials of a search: by digest, by objective, or within bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from typing import NamedTuple

from gatesearch.errors import UserError, unknown
from gatesearch.recipe import Recipe
from gatesearch.search import pareto
from gatesearch.search.evaluation import PREFERENCES, Objectives
from gatesearch.search.result import SearchResult, Trial

DETECTION = "detection"  # the goal whose accuracy in a search is the share of detected events


@dataclass(frozen=True)
class PlanChoice:
    """What a user writes to choose a plan; without any value, the recipe's rule chooses.

    Args:
        plan: the beginning of a plan's digest; the other values must then be None.
        objective: the objective that ranks the plans: energy, latency or accuracy. None for the recipe's objective, or
            with one bound, for what the bound leaves open: accuracy under a power, energy under a miss rate.
        max_power_mw: largest mean power in the search, in milliwatts.
        max_miss_rate: largest miss rate in the search, for goal detection.

    Raises:
        UserError: the digest comes with another value, or there is no such objective.

    >>> str(PlanChoice(objective="energy", max_miss_rate=0.1))
    'objective=energy max_miss_rate=0.1'
    """

    plan: str | None = None
    objective: str | None = None
    max_power_mw: float | None = None
    max_miss_rate: float | None = None

    def __post_init__(self) -> None:
        others = [f"{key}={value}" for key, value in asdict(self).items() if value is not None and key != "plan"]
        if self.plan is not None and others:
            raise UserError(f"plan={self.plan} names one plan; leave out {' '.join(others)}")
        if self.objective not in (None, *PREFERENCES):
            raise unknown("pick", "objective", self.objective or "", PREFERENCES)

    def __str__(self) -> str:
        words = {key: value for key, value in asdict(self).items() if value is not None}
        return " ".join(
            f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in words.items()
        )

    def rank_by(self, recipe: Recipe) -> str:
        """Return the objective that ranks the plans."""
        if self.objective is not None:
            return self.objective
        if (self.max_power_mw is None) == (self.max_miss_rate is None):
            return recipe.pick.objective
        return "accuracy" if self.max_miss_rate is None else "energy"


class _Bound(NamedTuple):
    """A bound on a figure of a plan.

    Args:
        text: the bound as the user wrote it.
        limit: the largest value.
        unit: the unit of the figure, for errors.
        figure: returns the figure from the objectives of a trial.
    """

    text: str
    limit: float
    unit: str
    figure: Callable[[Objectives], float]


def rank_choice(choice: PlanChoice, recipe: Recipe, trials: SearchResult, period_s: float) -> list[Trial]:
    """Return the trials of the chosen plans in the order in which they should be retrained.

    Args:
        choice: what the user wrote.
        recipe: the recipe of the run, whose rule holds where the choice leaves it open.
        trials: the trials of the search.
        period_s: seconds from one window to the next.

    Raises:
        UserError: no plan has the digest or keeps the bounds; the error names the nearest.
    """
    if choice.plan is not None:
        return [find_trial(choice.plan, trials)]
    within = trials.complete
    for bound in _list_bounds(choice, recipe, period_s):
        figures = {
            trial.number: bound.figure(trial.objectives) for trial in within if trial.objectives and trial.feasible
        }
        if figures and min(figures.values()) > bound.limit:
            best = min((trial for trial in within if trial.number in figures), key=lambda trial: figures[trial.number])
            raise UserError(
                f"{bound.text}: no plan that keeps the constraints takes so little; nearest: plan={best.plan.digest} "
                f"with {figures[best.number]:.4g}{bound.unit}"
            )
        within = tuple(trial for trial in within if figures.get(trial.number, bound.limit + 1) <= bound.limit)
    return SearchResult(within).rank_plans(choice.rank_by(recipe), recipe.pick.tolerance)


def _list_bounds(choice: PlanChoice, recipe: Recipe, period_s: float) -> list[_Bound]:
    bounds = []
    if choice.max_power_mw is not None:
        text = f"max_power_mw={choice.max_power_mw:g}"
        bounds.append(_Bound(text, choice.max_power_mw, " mW", lambda each: power_mw(each, period_s)))
    if choice.max_miss_rate is not None:
        text = f"max_miss_rate={choice.max_miss_rate:g}"
        if recipe.goal != DETECTION:
            raise UserError(f"{text}: goal {recipe.goal} has no miss rate; wanted: objective= or max_power_mw=")
        bounds.append(_Bound(text, choice.max_miss_rate, "", lambda each: 1 - each.accuracy))
    return bounds


def find_trial(digest: str, trials: SearchResult) -> Trial:
    """Return the trained trial of the plan whose digest begins with a text, as git finds commits.

    Raises:
        UserError: no tried plan has such a digest, several have, or the plan was not trained.
    """
    by_digest: dict[str, Trial] = {}
    for trial in trials.trials:
        if trial.plan.digest not in by_digest or trial.state == "complete":
            by_digest[trial.plan.digest] = trial
    matches = [name for name in by_digest if name.startswith(digest)]
    if not matches:
        nearest = max(by_digest, key=lambda name: SequenceMatcher(None, name, digest).ratio(), default=None)
        raise UserError(
            f"plan={digest}: none of {len(by_digest)} plans of the search has this digest; nearest: {nearest}"
        )
    if len(matches) > 1:
        raise UserError(f"plan={digest}: {len(matches)} plans have digests that begin so: {', '.join(matches)}")
    trial = by_digest[matches[0]]
    if trial.state != "complete":
        raise UserError(f"plan={matches[0]}: {_UNTRAINED[trial.state]}; a pick needs a plan that the search trained")
    return trial


_UNTRAINED: Mapping[str, str] = {
    "pruned": "a scheduler stopped its training",
    "priced_out": "its price breaks a constraint",
    "duplicate": "its first trial has not ended",
    "failed": "its trial failed",
}


def describe_off_front(trial: Trial, front: Sequence[Trial]) -> str | None:
    """Return a line that says why a tried plan is not on the front; None for a plan of the front."""
    if trial.plan in {other.plan for other in front}:
        return None
    digest = trial.plan.digest
    if not trial.feasible or trial.objectives is None:
        return f"plan {digest} was tried, but is not on the front: it broke a constraint in the search"
    better = [
        other.plan.digest
        for other in front
        if other.objectives and pareto.dominates(other.objectives.minimised, trial.objectives.minimised)
    ]
    return (
        f"plan {digest} was tried, but is not on the front: plan {better[0]} is better"
        if better
        else (f"plan {digest} was tried, but is not on the front: a plan with equal objectives is")
    )


def power_mw(objectives: Objectives, period_s: float) -> float:
    """Return the mean power of a plan [mW], from its energy per window and the seconds between windows."""
    return objectives.energy_uj / period_s / 1e3
