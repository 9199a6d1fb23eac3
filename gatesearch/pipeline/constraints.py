"""Computes by how much a plan's price or a model's quality breaks the constraints of a recipe."""

from __future__ import annotations

import math

from gatesearch.cost.model import CostModel
from gatesearch.pipeline.problem import Problem
from gatesearch.plan import GatePlan
from gatesearch.recipe import Recipe
from gatesearch.training import Figures


def price_violations(recipe: Recipe, cost: CostModel, plan: GatePlan) -> dict[str, float]:
    """Return by how much a plan breaks each constraint on its price, by name; at most 0 where it breaks none."""
    violations = dict(cost.violations(plan))
    if recipe.constraints.latency_ms is not None:
        violations["latency_ms"] = excess_latency_ms(recipe, cost, plan)
    return violations


def is_affordable(recipe: Recipe, cost: CostModel, plan: GatePlan) -> bool:
    """Return whether a plan keeps each constraint on its price."""
    return all(excess <= 0 for excess in price_violations(recipe, cost, plan).values())


def excess_latency_ms(recipe: Recipe, cost: CostModel, plan: GatePlan) -> float:
    """Return by how many milliseconds a plan's longest path exceeds the recipe's limit; negative if it does not."""
    limit = recipe.constraints.latency_ms
    return -math.inf if limit is None else cost.bound(plan).longest_latency_us / 1e3 - limit


def quality_violations(problem: Problem, figures: Figures, reference: float) -> dict[str, float]:
    """Return by how much a model breaks each constraint on quality, by name; positive for a broken constraint.

    Args:
        problem: the problem, whose recipe sets the limits.
        figures: the figures of the model.
        reference: the quality of the ungated backbone that was trained in the same way.
    """
    excess = problem.goal.limits
    return {
        key.partition("_")[2].removesuffix("_drop").replace("_", " "): excess[key](figures, reference, limit)
        for key, limit in problem.recipe.constraints.quality.items()
        if limit is not None
    }
