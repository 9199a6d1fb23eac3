"""Values that hold the results of a batch-size study: of its pilot, and of each batch size."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from gatesearch.batch_study.config import Config
from gatesearch.batch_study.journal import Entry
from gatesearch.batch_study.space import Edge


@dataclass(frozen=True, slots=True)
class Pilot:
    """The results of the pilot, the first trials of a study, which set its goal.

    Args:
        batch: batch size of the pilot, the middle one of the study.
        budget: steps of each trial of the pilot.
        goal: validation error that all batch sizes have to reach.
        steps: median of the steps to the goal over the pilot's best trials.
        rate: median of the effective learning rate over the pilot's best trials.
    """

    batch: int
    budget: int
    goal: float
    steps: int
    rate: float


@dataclass(frozen=True, slots=True)
class BatchStudy:
    """The results for one batch size.

    Args:
        batch: the batch size.
        budget: step budget of each trial.
        trials: the trials of the search, including those in the ranges that were added when bounds moved outwards.
        repeats: repeated trainings of the best trials' configs, by the number of the trial.
        moved_edges: bounds that were moved outwards.
        near_edges: bounds to which the best trial is still too near after all moves.
        fixed_steps: least validation error of the best config, for each seed, when it trains for as many steps as the
            pilot; infinite where the training diverged.
        fixed_epochs: the same error when the best config trains for as many epochs as the pilot.
    """

    batch: int
    budget: int
    trials: tuple[Entry, ...]
    repeats: dict[int, tuple[Entry, ...]]
    moved_edges: tuple[Edge, ...] = ()
    near_edges: tuple[Edge, ...] = ()
    fixed_steps: tuple[float, ...] = ()
    fixed_epochs: tuple[float, ...] = ()

    @property
    def best(self) -> Config | None:
        """The config with the lowest median of steps over its repeats; None if no trial reached the goal."""
        if not self.repeats:
            return None
        number = min(self.repeats, key=lambda number: (median_steps(self.repeats[number]), number))
        return self.repeats[number][0].config


def rank_trials(trials: Sequence[Entry]) -> list[Entry]:
    """Return the trials that reached the goal, those with the fewest steps first."""
    reached = [entry for entry in trials if entry.result.state == "reached"]
    return sorted(reached, key=lambda entry: (entry.result.steps, entry.key.number))


def median_steps(repeats: Sequence[Entry]) -> float:
    """Return the median of the steps to the goal; infinite where half of the repeats or more did not reach it."""
    return statistics.median_high(entry.result.steps_to_goal for entry in repeats)
