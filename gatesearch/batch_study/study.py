"""Runs a batch-size study: a pilot sets the goal, then each batch size has a search of its own.

The study is a small version of the one by Shallue et al. 2018, "Measuring the effects of data parallelism on neural
network training" (arXiv 1811.03600).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gatesearch._lib import console
from gatesearch._lib.console import Steps
from gatesearch.batch_study.config import Config
from gatesearch.batch_study.findings import BatchStudy, Pilot, rank_trials
from gatesearch.batch_study.journal import Entry, Journal, Key
from gatesearch.batch_study.settings import Settings
from gatesearch.batch_study.space import Edge, Space
from gatesearch.batch_study.training import TrainingProblem, train
from gatesearch.errors import UserError

GOAL_SHARE = 0.6  # share of the pilot's steps after which its best trials set the goal
RATE_FACTOR = 10.0  # effective learning rates are searched from centre / RATE_FACTOR to centre * RATE_FACTOR
# A budget assumes at least this share of the pilot's steps to the goal, even if perfect scaling needs fewer steps.
MIN_BUDGET_SHARE = 0.5
BEST_COUNT = 3  # configs that are trained again
# When three trials have reached the goal, later trials stop at this multiple of the steps of the third best trial.
LIMIT_FACTOR = 2.0
EXTENSION_ROUNDS = 2  # rounds in which bounds move outwards
MIN_EXTENSION_TRIALS = 8  # fewest trials for each bound that moves
MIN_BATCH_SIZES = 3  # the fit of the trade-off needs as many points


class Study:
    """A batch-size study of one training problem.

    Args:
        problem: the problem to train.
        settings: trials, seeds and budgets.
        journal: file of the trainings; a training in the file is not run again.
        epochs: budget of the pilot in epochs.
        seed: the seed of points and trainings.
        space: the ranges to search, before the pilot sets the centre of the learning rate.

    Raises:
        UserError: fewer than three batch sizes fit into the training split.
    """

    def __init__(
        self,
        problem: TrainingProblem,
        settings: Settings,
        journal: Path,
        *,
        epochs: int,
        seed: int,
        space: Space | None = None,
    ) -> None:
        self.problem, self.settings, self.journal = problem, settings, Journal(journal)
        self.epochs, self.seed, self.space = epochs, seed, space or Space()
        self.batch_sizes = [size for size in settings.batch_sizes if size <= problem.samples]
        if len(self.batch_sizes) < MIN_BATCH_SIZES:
            raise UserError(
                f"batches={settings.batches}: {len(self.batch_sizes)} batch sizes fit into a training split of "
                f"{problem.samples:,} samples; a study needs at least three"
            )

    def run(self) -> tuple[Pilot, tuple[BatchStudy, ...]]:
        """Run all trainings that are not in the journal yet; return the results of the pilot and of each batch size.

        Raises:
            UserError: every trial of the pilot diverged.
        """
        pilot = self._run_pilot()
        console.say(
            f"pilot: batch {pilot.batch}, goal: validation error {pilot.goal:.4g}, in {pilot.steps} of "
            f"{pilot.budget} steps"
        )
        return pilot, tuple(self._study_batch(batch, pilot) for batch in self.batch_sizes)

    def count_steps(self, epochs: int, batch: int) -> int:
        """Return the number of steps in some epochs, without the smaller last batch of each."""
        return epochs * max(1, self.problem.samples // batch)

    def _run_pilot(self) -> Pilot:
        """Train quasi-random configs at the middle batch size, and set the goal from the best of them.

        The best trials also set the pilot's steps to the goal and the centre of the learning rate.
        """
        batch = self.batch_sizes[(len(self.batch_sizes) - 1) // 2]
        budget, count = self.count_steps(self.epochs, batch), self.settings.pilot
        points = self.space.sample(count, self.seed)
        with console.progress(count, f"pilot, batch {batch}") as bar:
            entries = [self._train(Key("pilot", batch, n), point, budget, bar) for n, point in enumerate(points)]
        goal_step = math.ceil(GOAL_SHARE * budget)
        completed = [entry for entry in entries if entry.result.state == "ended"]
        completed.sort(key=lambda entry: (_least_error(entry, goal_step), entry.key.number))
        if not completed:
            raise UserError(f"scaling: all {count} trainings of the pilot diverged at batch size {batch}")
        best = completed[:BEST_COUNT]
        # The goal is the median of three errors, because the least error of a dozen trials is partly luck.
        goal = self.settings.goal or statistics.median(_least_error(entry, goal_step) for entry in best)
        steps = sorted(_first_step(entry, goal, otherwise=budget) for entry in best)
        log_rate = statistics.median(math.log(entry.config.rate) for entry in best)
        return Pilot(batch=batch, budget=budget, goal=goal, steps=steps[(len(steps) - 1) // 2], rate=math.exp(log_rate))

    def _study_batch(self, batch: int, pilot: Pilot) -> BatchStudy:
        """Search for the configs with the fewest steps to the goal at one batch size, and train the best again."""
        # Under perfect scaling, steps x batch is constant.
        perfect_steps = pilot.steps * pilot.batch / batch
        budget = math.ceil(self.settings.cap * max(perfect_steps, MIN_BUDGET_SHARE * pilot.steps))
        # The centre of the learning rate grows with the square root of the batch size: faster than a constant rate, and
        # slower than the linear rule. The range is equally wide at every batch size.
        space = self.space.centre(pilot.rate * math.sqrt(batch / pilot.batch), RATE_FACTOR)
        trials: list[Entry] = []
        moved: list[Edge] = []
        points = space.sample(self.settings.trials, self.seed + batch)
        self._search(batch, pilot.goal, budget, points, trials)
        for _ in range(EXTENSION_ROUNDS):
            for edge in _near_edges(space, trials):
                count = max(MIN_EXTENSION_TRIALS, self.settings.trials // 2)
                points = space.extension(edge).sample(count, self.seed + batch + 7919 * (len(moved) + 1))
                self._search(batch, pilot.goal, budget, points, trials)
                space = space.extend(edge)
                moved.append(edge)
        study = BatchStudy(
            batch=batch,
            budget=budget,
            trials=tuple(trials),
            repeats=self._repeat(batch, pilot.goal, budget, rank_trials(trials)[:BEST_COUNT]),
            moved_edges=tuple(moved),
            near_edges=tuple(_near_edges(space, trials)),
        )
        if study.best is None:
            return study
        epoch_budget = self.count_steps(self.epochs, batch)
        return replace(
            study,
            fixed_steps=self._train_fixed("steps", batch, study.best, pilot.budget),
            fixed_epochs=self._train_fixed("epochs", batch, study.best, epoch_budget),
        )

    def _search(self, batch: int, goal: float, budget: int, points: Sequence[Config], trials: list[Entry]) -> None:
        """Train every point and append it to the trials."""
        with console.progress(len(points), f"batch {batch}") as bar:
            for point in points:
                limit = budget
                reached = rank_trials(trials)
                if len(reached) >= BEST_COUNT:
                    # Only the trials with the fewest steps count, and a trial that takes far longer is not one of them.
                    limit = min(budget, math.ceil(LIMIT_FACTOR * reached[BEST_COUNT - 1].result.steps))
                key = Key("search", batch, len(trials))
                trials.append(self._train(key, point, budget, bar, goal, limit))

    def _repeat(self, batch: int, goal: float, budget: int, best: Sequence[Entry]) -> dict[int, tuple[Entry, ...]]:
        repeats = {}
        with console.progress(len(best) * self.settings.seeds, f"batch {batch}, the best again") as bar:
            for entry in best:
                number = entry.key.number
                keys = [Key("again", batch, number, 1 + k) for k in range(self.settings.seeds)]
                repeats[number] = tuple(self._train(key, entry.config, budget, bar, goal) for key in keys)
        return repeats

    def _train_fixed(self, name: str, batch: int, config: Config, budget: int) -> tuple[float, ...]:
        """Return the least validation error of each seed under a fixed budget of steps."""
        with console.progress(self.settings.seeds, f"batch {batch}, fixed {name}") as bar:
            keys = [Key(f"fixed {name}", batch, 0, 1 + k) for k in range(self.settings.seeds)]
            return tuple(self._train(key, config, budget, bar).result.best_error for key in keys)

    def _train(
        self,
        key: Key,
        config: Config,
        budget: int,
        bar: Steps,
        goal: float | None = None,
        limit: int | None = None,
    ) -> Entry:
        """Train one config, or read its result from the journal, and advance the bar."""
        # Repeats have seeds of their own, the same for every config and batch size.
        offset = 10_000 + key.repeat if key.repeat else key.number
        seed = (self.seed * 1_000_003 + offset) % 2**31
        entry = self.journal.get(
            key,
            config,
            lambda: train(self.problem, config, batch=key.batch, seed=seed, budget=budget, goal=goal, limit=limit),
        )
        bar.advance(note=f"{entry.result.state} after {entry.result.steps} steps")
        return entry


def _near_edges(space: Space, trials: Sequence[Entry]) -> list[Edge]:
    """Return the movable bounds that the best trial is too near to; none where no trial reached the goal."""
    ranked = rank_trials(trials)
    return list(space.find_edges(ranked[0].config)) if ranked else []


def _least_error(entry: Entry, last_step: int) -> float:
    return min(error for step, error in entry.result.curve if step <= last_step)


def _first_step(entry: Entry, goal: float, otherwise: int) -> int:
    """Return the first step at which the error was at most the goal; ``otherwise`` if there is none."""
    return next((step for step, error in entry.result.curve if error <= goal), otherwise)
