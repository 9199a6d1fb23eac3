"""Builds the content of a study's ``outcome.json``, from which its page and its plot are made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gatesearch.batch_study.bootstrap import Interval, bootstrap
from gatesearch.batch_study.config import Config
from gatesearch.batch_study.findings import BatchStudy, Pilot, rank_trials
from gatesearch.batch_study.space import HIGH, LOW, Edge
from gatesearch.batch_study.trade_off import (
    choose_batch,
    fit_trade_off,
    local_slopes,
    name_regime,
    rate_exponent,
    steps_to_goal,
)

SIDE_NAMES = {LOW: "low", HIGH: "high"}


def build_outcome(pilot: Pilot, studies: Sequence[BatchStudy], seed: int) -> dict[str, Any]:
    """Return goal, points, fit and batch size in the types of JSON; a figure that does not exist is None.

    Args:
        pilot: results of the pilot.
        studies: results of each batch size.
        seed: the seed of the bootstrap.
    """
    all_steps = [steps_to_goal(study) for study in studies]
    reaching = [study for study, value in zip(studies, all_steps, strict=True) if math.isfinite(value)]
    batches = [study.batch for study in reaching]
    steps = [value for value in all_steps if math.isfinite(value)]
    slopes = dict(zip(batches, local_slopes(batches, steps), strict=True)) if len(reaching) > 1 else {}
    intervals = bootstrap(studies, seed)
    outcome: dict[str, Any] = {
        "pilot": {"batch": pilot.batch, "budget": pilot.budget, "steps": pilot.steps, "rate": pilot.rate},
        "goal": pilot.goal,
        "points": [
            _build_point(study, value, slopes.get(study.batch), interval)
            for study, value, interval in zip(studies, all_steps, intervals.steps, strict=True)
        ],
        "critical": None,
        "exponent": None,
        "batch_size": None,
    }
    fit = fit_trade_off(batches, steps)
    if fit is None or intervals.critical_batch is None or intervals.exponent is None:
        return outcome
    exponent = rate_exponent(batches, [study.best.rate for study in reaching if study.best is not None])
    critical = {"value": fit.critical_batch, "interval": list(intervals.critical_batch), "steps": fit.min_steps}
    return outcome | {
        "critical": critical,
        "exponent": {"value": exponent, "interval": list(intervals.exponent)},
        "batch_size": choose_batch(batches, steps, fit.critical_batch),
    }


def _build_point(study: BatchStudy, steps: float, slope: float | None, interval: Interval) -> dict[str, Any]:
    """Return the figures of one batch size as they stand in the study's JSON file."""
    states = [entry.result.state for entry in study.trials]
    ranking = rank_trials(study.trials)
    repeats = [[_finite_or_none(entry.result.steps_to_goal) for entry in group] for group in study.repeats.values()]
    return {
        "batch": study.batch,
        "budget": study.budget,
        "steps": _finite_or_none(steps),
        "interval": [_finite_or_none(bound) for bound in interval],
        "fewest": ranking[0].result.steps if ranking else None,
        "slope": slope,
        "regime": None if slope is None else name_regime(slope),
        "best": None if study.best is None else _describe_config(study.best),
        "rates": [entry.config.rate for entry in ranking],
        "trials": len(states),
        "reached": states.count("reached"),
        "ended": states.count("ended"),
        "diverged": states.count("diverged"),
        "repeats": repeats,
        "moved": [_name_edge(edge) for edge in study.moved_edges],
        "at_edge": [_name_edge(edge) for edge in study.near_edges],
        "fixed_steps": [_finite_or_none(error) for error in study.fixed_steps],
        "fixed_epochs": [_finite_or_none(error) for error in study.fixed_epochs],
    }


def _describe_config(config: Config) -> dict[str, float]:
    return {"rate": config.rate, "momentum": config.momentum, "decay": config.decay, "end": config.end}


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _name_edge(edge: Edge) -> str:
    return f"{edge.name} {SIDE_NAMES[edge.side]}"
