"""Which plans a supernet is asked about beforehand, and which of its front are trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random

import numpy as np

from gatesearch.plan import GatePlan
from gatesearch.search import pareto
from gatesearch.search.engine import Trial
from gatesearch.search.sampler.initial import cheapest, starts
from gatesearch.search.sampler.neighbours import Candidates, Gates
from gatesearch.search.space import Space

ROUNDS = 50  # draws for each plan of a sample, before the space counts as too small for it
MARGIN = 0.1  # of the front's range: how far beyond its worst ends volume counts


def sample(space: Space, cost: Callable[[GatePlan], float], count: int, seed: int) -> list[GatePlan]:
    """Return plans with different gates, drawn evenly by a seed; the first is where every search starts.

    Args:
        space: of the plans.
        cost: of a plan before training, to be minimised; infinite where it cannot be. Decides on cores.
        count: of plans; fewer where the space holds no more.
        seed: of the draws.
    """
    found: dict[Gates, GatePlan] = {}
    for gates in [*starts(space)[:1], *Candidates(space).evenly(count * ROUNDS, Random(seed))]:
        plan = cheapest(space, gates, cost)
        if gates not in found and cost(plan) < math.inf:
            found[gates] = plan
        if len(found) == count:
            break
    return list(found.values())


def shortlist(trials: Sequence[Trial], count: int) -> list[GatePlan]:
    """Return the plans to train: the front, and while there is room the front of those that are left.

    Estimates are not exact, and who stands just behind the front may well be on it. Of a front for which there is not
    room enough those come first that have the most hypervolume beside those before them.

    Args:
        trials: that keep the constraints.
        count: of different gates; the plans of the same gates on other cores come with them, since they take no
            training of their own.
    """
    left, chosen, gates = list(trials), list[GatePlan](), set[Gates]()
    while left and len(gates) < count:
        points = [trial.objectives.minimised for trial in left if trial.objectives is not None]
        unbeaten = set(map(tuple, pareto.unbeaten(np.array(points)).tolist()))
        front = [trial for trial, point in zip(left, points, strict=True) if point in unbeaten]
        chosen += _spread(front, count - len(gates))
        gates = {plan.gates for plan in chosen}
        left = [trial for trial in left if trial.plan.gates not in gates]
    return chosen


def _spread(front: Sequence[Trial], count: int) -> list[GatePlan]:
    """Return the plans of a front, of so many different gates at most, those that cover it best first."""
    points = np.array([trial.objectives.minimised for trial in front if trial.objectives is not None])
    low, worst = points.min(0), points.max(0)
    # A tenth of the range beyond the worst ends, so that these count as well.
    scaled = (points - low) / np.maximum((1 + MARGIN) * (worst - low), 1e-12)
    rows = [tuple(row) for row in scaled.tolist()]
    chosen: list[int] = []
    gates: set[Gates] = set()

    def volume(one: int) -> float:
        taken = [rows[i] for i in (*chosen, one)]
        return pareto.hypervolume([taken[i] for i in pareto.front(taken)], (1.0, 1.0, 1.0))

    left = list(range(len(rows)))
    while able := [i for i in left if len(gates) < count or front[i].plan.gates in gates]:
        best = max(able, key=volume)
        chosen.append(best)
        left.remove(best)
        gates.add(front[best].plan.gates)
    return [front[i].plan for i in chosen]
