"""A study in plain values: what ``outcome.json`` holds, and all that pages and plots show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gatesearch.batch_study import analysis
from gatesearch.batch_study.space import Edge
from gatesearch.batch_study.study import BatchStudy, Pilot, ranked

SIDES = {-1: "low", 1: "high"}


def describe(pilot: Pilot, studies: Sequence[BatchStudy], seed: int) -> dict[str, Any]:
    """Return goal, points, fit and batch size; what was not reached is None.

    Args:
        pilot, studies: what the study found.
        seed: of the bootstrap.
    """
    steps = [analysis.steps_to_goal(found) for found in studies]
    here = [k for k, value in enumerate(steps) if math.isfinite(value)]
    batches = [studies[k].batch for k in here]
    reached = [steps[k] for k in here]
    slopes = dict(zip(batches, analysis.slopes(batches, reached), strict=True)) if len(here) > 1 else {}
    drawn = analysis.bootstrap(studies, seed)
    points = [
        _point(found, value, slopes.get(found.batch), interval)
        for found, value, interval in zip(studies, steps, drawn.steps, strict=True)
    ]
    fitted = analysis.fit(batches, reached)
    shown: dict[str, Any] = {
        "pilot": {"batch": pilot.batch, "budget": pilot.budget, "steps": pilot.steps, "rate": pilot.rate},
        "goal": pilot.goal,
        "points": points,
        "critical": None,
        "exponent": None,
        "batch_size": None,
    }
    if fitted is None or drawn.critical is None or drawn.exponent is None:
        return shown
    rates = [found.best.rate for found in studies if found.best is not None and found.batch in batches]
    exponent = analysis.exponent(batches, rates)
    return shown | {
        "critical": {"value": fitted.critical, "interval": list(drawn.critical), "steps": fitted.steps},
        "exponent": {"value": exponent, "interval": list(drawn.exponent)},
        "batch_size": analysis.batch_to_train_with(batches, reached, fitted.critical),
    }


def _point(found: BatchStudy, steps: float, slope: float | None, interval: Sequence[float]) -> dict[str, Any]:
    states = [entry.ran.state for entry in found.trials]
    best, order = found.best, ranked(found.trials)
    return {
        "batch": found.batch,
        "budget": found.budget,
        "steps": _finite(steps),
        "interval": [_finite(bound) for bound in interval],
        "fewest": order[0].ran.steps if order else None,
        "slope": slope,
        "regime": None if slope is None else analysis.regime(slope),
        "best": None
        if best is None
        else {"rate": best.rate, "momentum": best.momentum, "decay": best.decay, "end": best.end},
        "rates": [entry.config.rate for entry in order],
        "trials": len(states),
        "reached": states.count("reached"),
        "ended": states.count("ended"),
        "diverged": states.count("diverged"),
        "repeats": [[_finite(e.ran.to_goal) for e in repeats] for repeats in found.repeats.values()],
        "moved": [_edge(edge) for edge in found.moved],
        "at_edge": [_edge(edge) for edge in found.at_edge],
        "fixed_steps": [_finite(error) for error in found.fixed_steps],
        "fixed_epochs": [_finite(error) for error in found.fixed_epochs],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _edge(edge: Edge) -> str:
    return f"{edge.name} {SIDES[edge.side]}"
