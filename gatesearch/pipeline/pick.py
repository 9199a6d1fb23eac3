"""Picks the best plan: ranks the tried plans by the recipe's rule, and retrains them in that order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gatesearch._lib import console
from gatesearch.cost.model import CostModel
from gatesearch.model import GatedModel
from gatesearch.pipeline.constraints import excess_latency_ms, quality_violations
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.stream_prices import operation_for, price_details
from gatesearch.pipeline.training import Baseline, retrain
from gatesearch.pipeline.weights import state_bytes
from gatesearch.plan import GatePlan
from gatesearch.recipe import Recipe
from gatesearch.search.evaluation import Objectives
from gatesearch.search.result import SearchResult, Trial

MODEL_FILE = "best/model.ckpt"


@dataclass(frozen=True)
class BestPlan:
    """The retrained best plan of a run, and the ungated backbone, retrained in the same way.

    Args:
        trial: the trial that evaluated the plan.
        model: the model of the plan, retrained and calibrated.
        ungated: the ungated backbone, retrained in the same way.
        rejected: digests of plans that were retrained and broke a constraint.
        choice: the words by which the user chose the plan; None where the recipe's rule picked it.
    """

    trial: Trial
    model: GatedModel
    ungated: GatedModel
    rejected: frozenset[str]
    choice: str | None = None


def retrain_best(
    problem: Problem, baseline: Baseline, cost: CostModel, trials: SearchResult, folder: RunFolder
) -> BestPlan:
    """Return the best plan by the recipe's rule, and store its model; see :func:`retrain_first`."""
    best = retrain_first(rank(problem.recipe, trials), problem, baseline, cost, folder)
    folder.write(MODEL_FILE, state_bytes(best.model))
    return best


def retrain_first(
    ranking: Sequence[Trial],
    problem: Problem,
    baseline: Baseline,
    cost: CostModel,
    folder: RunFolder,
    choice: str | None = None,
) -> BestPlan:
    """Return the first plan of a ranking that keeps the constraints after its retraining.

    After its short training a plan can look better than it is. So its retrained model must keep the constraints on the
    validation split, relative to the ungated backbone, retrained in the same way. If the model breaks a constraint, the
    next plan of the ranking is retrained. If no plan keeps the constraints, the plan with the smallest violation is the
    best plan, and warnings name the constraints that it breaks.

    Args:
        ranking: the trials of the plans, the best first; the recipe limits how many are retrained.
        problem, baseline, cost, folder: the run's problem, baseline, cost model and folder.
        choice: the words by which the user chose the ranking; None for the recipe's rule.
    """
    ungated = retrain("ungated", cost.ungated()[0], problem, baseline, folder)
    validation = problem.features.validation
    reference = problem.goal.assess(ungated, validation).value
    attempts: list[tuple[float, Trial, GatedModel]] = []
    for trial in ranking[: problem.recipe.pick.attempts]:
        operation = operation_for(problem, cost, trial.plan, reference)
        model = retrain(f"gated-{trial.plan.digest}", trial.plan, problem, baseline, folder, operation=operation)
        violations = quality_violations(problem, problem.goal.assess(model, validation), reference)
        broken = {name: excess for name, excess in violations.items() if excess > 0}
        attempts.append((max(broken.values(), default=0.0), trial, model))
        if not broken:
            break
        excesses = ", ".join(f"{name} by {excess:.3f}" for name, excess in broken.items())
        console.warn(f"plan {trial.plan.digest}, retrained, breaks a constraint on validation: {excesses}")
    _, trial, model = min(attempts, key=lambda attempt: attempt[0])
    rejected = frozenset(other.plan.digest for _, other, _ in attempts) - {trial.plan.digest}
    return BestPlan(trial, model, ungated, rejected, choice)


def repick(recipe: Recipe, trials: SearchResult, best: BestPlan, cost: CostModel) -> GatePlan | None:
    """Return the plan that the recipe's rule would pick at other prices, from the short trainings of the search.

    Args:
        recipe: the recipe with the rule.
        trials: the trials of the search.
        best: the picked plan; plans that its retraining rejected stay rejected.
        cost: the cost model with the other prices.

    Returns:
        The plan; None if a user chose the plan, if no plan keeps the limit on latency, or if the trials do not hold the
        shares of windows that passed.
    """
    if best.choice is not None:
        return None  # other prices change what a rule picks, but not what a user chose
    repriced = []
    for trial in trials.complete:
        if not trial.details or not trial.objectives or trial.plan.digest in best.rejected:
            continue
        if excess_latency_ms(recipe, cost, trial.plan) > 0:
            continue
        price = price_details(cost, trial.plan, trial.details)
        objectives = Objectives(trial.objectives.accuracy, price.expected_latency_us, price.energy.total_uj)
        repriced.append(replace(trial, objectives=objectives))
    result = SearchResult(tuple(repriced))
    return rank(recipe, result)[0].plan if result.front else None


def rank(recipe: Recipe, trials: SearchResult) -> list[Trial]:
    """Return the trials in the order of the recipe's rule; see :meth:`SearchResult.rank_plans`."""
    return trials.rank_plans(recipe.pick.objective, recipe.pick.tolerance)
