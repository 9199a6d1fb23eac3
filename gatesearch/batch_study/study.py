"""The study: a pilot that sets the goal, then for each batch size a search of its own (techniques section 5.2).

After Shallue et al. 2018, "Measuring the effects of data parallelism on neural network training", in small.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gatesearch._lib import console
from gatesearch._lib.console import Steps
from gatesearch.batch_study.journal import Entry, Journal, Key
from gatesearch.batch_study.settings import Settings
from gatesearch.batch_study.space import Config, Edge, Space
from gatesearch.batch_study.trial import Problem, train
from gatesearch.errors import UserError

GOAL_AT = 0.6  # of the pilot's steps
WIDTH = 10.0  # effective rates reach this factor below and above the centre
FLOOR = 0.5  # of the middle batch's steps: no larger batch is expected to need fewer, or gets a smaller budget for it
BEST = 3  # configs that are trained again
LATE = 2.0  # once three configs have come to the goal, others have this multiple of the third's steps
ROUNDS = 2  # of bounds moved on
LEAST_ADDED = 8  # trials for a bound moved on


@dataclass(frozen=True, slots=True)
class Pilot:
    """What the pilot found.

    Args:
        batch: the middle batch size.
        budget: its steps.
        goal: validation error that the study wants.
        steps: that the pilot's best took to it.
        rate: the effective learning rate of the best.
    """

    batch: int
    budget: int
    goal: float
    steps: int
    rate: float


@dataclass(frozen=True, slots=True)
class BatchStudy:
    """All that was found for one batch size.

    Args:
        batch: samples a step.
        budget: step budget of each trial.
        trials: of the search, those of moved bounds included.
        repeats: of the best configs, by the number of the trial.
        moved: bounds that were moved on.
        at_edge: bounds that the best trial is too near to even so.
        fixed_steps, fixed_epochs: least validation error of the best config under the pilot's steps and epochs, one a
            seed; infinite where it diverged.
    """

    batch: int
    budget: int
    trials: tuple[Entry, ...]
    repeats: dict[int, tuple[Entry, ...]]
    moved: tuple[Edge, ...]
    at_edge: tuple[Edge, ...]
    fixed_steps: tuple[float, ...]
    fixed_epochs: tuple[float, ...]

    @property
    def best(self) -> Config | None:
        """The config whose repeats took the fewest steps; None where no trial reached the goal."""
        if not self.repeats:
            return None
        number = min(self.repeats, key=lambda n: (to_goal(self.repeats[n]), n))
        return self.repeats[number][0].config


class Study:
    """One study on one problem.

    Args:
        problem: what is trained.
        settings: how the study goes.
        journal: file of the trainings; what is in it is not run again.
        epochs: budget of the pilot.
        seed: of points and trainings.
        space: what is tuned, before the pilot has centred the rate.
    """

    def __init__(
        self, problem: Problem, settings: Settings, journal: Path, *, epochs: int, seed: int, space: Space | None = None
    ) -> None:
        self.problem, self.settings, self.journal = problem, settings, Journal(journal)
        self.epochs, self.seed, self.space = epochs, seed, space or Space()
        self.sizes = [size for size in settings.sizes if size <= problem.samples]
        if len(self.sizes) < 3:
            raise UserError(
                f"batches={settings.batches}: {len(self.sizes)} batch sizes fit into a training split of "
                f"{problem.samples:,} samples; a study wants three at least"
            )

    def run(self) -> tuple[Pilot, tuple[BatchStudy, ...]]:
        """Run what is not in the journal yet.

        Raises:
            UserError: every trial of the pilot diverged.
        """
        pilot = self._pilot()
        console.say(
            f"pilot: batch {pilot.batch}, goal: validation error {pilot.goal:.4g}, in {pilot.steps} of "
            f"{pilot.budget} steps"
        )
        return pilot, tuple(self._batch(batch, pilot) for batch in self.sizes)

    def steps_of(self, epochs: int, batch: int) -> int:
        """Return how many steps so many epochs are; the last, smaller batch of an epoch is left out."""
        return epochs * max(1, self.problem.samples // batch)

    def _pilot(self) -> Pilot:
        batch = self.sizes[(len(self.sizes) - 1) // 2]
        budget, count = self.steps_of(self.epochs, batch), self.settings.pilot
        at = math.ceil(GOAL_AT * budget)
        points = self.space.points(count, self.seed)
        with console.progress(count, f"pilot, batch {batch}") as bar:
            entries = [self._train(Key("pilot", batch, n), point, budget, bar) for n, point in enumerate(points)]
        ended = sorted((e for e in entries if e.ran.state == "ended"), key=lambda e: (_error_at(e, at), e.key.number))
        if not ended:
            raise UserError(f"scaling: all {count} trainings of the pilot diverged at batch size {batch}")
        best = ended[:BEST]
        # The middle one of three: the best of a dozen has been lucky, too.
        goal = self.settings.goal or statistics.median(_error_at(e, at) for e in best)
        took = sorted(_first_at(e, goal, budget) for e in best)
        rate = math.exp(statistics.median(math.log(e.config.rate) for e in best))
        return Pilot(batch, budget, goal, took[(len(took) - 1) // 2], rate)

    def _batch(self, batch: int, pilot: Pilot) -> BatchStudy:
        perfect = pilot.steps * pilot.batch / batch
        budget = math.ceil(self.settings.cap * max(perfect, FLOOR * pilot.steps))
        # Between a rate that does not change and the linear rule; the range is as wide for every batch size.
        space = self.space.centred(pilot.rate * math.sqrt(batch / pilot.batch), WIDTH)
        trials: list[Entry] = []
        moved: list[Edge] = []
        self._search(batch, pilot.goal, budget, space.points(self.settings.trials, self.seed + batch), trials)
        added = max(LEAST_ADDED, self.settings.trials // 2)
        for _ in range(ROUNDS):
            for edge in _edges(space, trials):
                points = space.added(edge).points(added, self.seed + batch + 7919 * (len(moved) + 1))
                self._search(batch, pilot.goal, budget, points, trials)
                space, moved = space.extended(edge), [*moved, edge]
        best = ranked(trials)[:BEST]
        repeats = self._repeats(batch, pilot.goal, budget, best)
        found = BatchStudy(batch, budget, tuple(trials), repeats, tuple(moved), tuple(_edges(space, trials)), (), ())
        if not best:
            return found
        config = found.best
        assert config is not None
        return replace(
            found,
            fixed_steps=self._fixed("steps", batch, config, pilot.budget),
            fixed_epochs=self._fixed("epochs", batch, config, self.steps_of(self.epochs, batch)),
        )

    def _search(self, batch: int, goal: float, budget: int, points: Sequence[Config], trials: list[Entry]) -> None:
        with console.progress(len(points), f"batch {batch}") as bar:
            for point in points:
                limit = budget
                if len(came := ranked(trials)) >= BEST:
                    # Steps to the goal are the fewest of all trials: what comes in later does not count.
                    limit = min(budget, math.ceil(LATE * came[BEST - 1].ran.steps))
                key = Key("search", batch, len(trials))
                trials.append(self._train(key, point, budget, bar, goal, limit))

    def _repeats(self, batch: int, goal: float, budget: int, best: Sequence[Entry]) -> dict[int, tuple[Entry, ...]]:
        repeats = {}
        with console.progress(len(best) * self.settings.seeds, f"batch {batch}, the best again") as bar:
            for entry in best:
                number = entry.key.number
                keys = [Key("again", batch, number, 1 + k) for k in range(self.settings.seeds)]
                repeats[number] = tuple(self._train(key, entry.config, budget, bar, goal) for key in keys)
        return repeats

    def _fixed(self, name: str, batch: int, config: Config, budget: int) -> tuple[float, ...]:
        with console.progress(self.settings.seeds, f"batch {batch}, fixed {name}") as bar:
            keys = [Key(f"fixed {name}", batch, 0, 1 + k) for k in range(self.settings.seeds)]
            return tuple(self._train(key, config, budget, bar).ran.best for key in keys)

    def _train(
        self,
        key: Key,
        config: Config,
        budget: int,
        bar: Steps,
        goal: float | None = None,
        limit: int | None = None,
    ) -> Entry:
        # Repeats have seeds of their own, the same for every config and batch size.
        seed = (self.seed * 1_000_003 + (10_000 + key.repeat if key.repeat else key.number)) % 2**31

        entry = self.journal.get(
            key,
            config,
            lambda: train(self.problem, config, batch=key.batch, seed=seed, budget=budget, goal=goal, limit=limit),
        )
        bar.advance(note=f"{entry.ran.state} after {entry.ran.steps} steps")
        return entry


def ranked(trials: Sequence[Entry]) -> list[Entry]:
    """Return the trials that reached the goal, those with the fewest steps first."""
    came = [entry for entry in trials if entry.ran.state == "reached"]
    return sorted(came, key=lambda entry: (entry.ran.steps, entry.key.number))


def to_goal(repeats: Sequence[Entry]) -> float:
    """Return the median of the steps to the goal; infinite where half of the repeats or more did not reach it."""
    return statistics.median_high(entry.ran.to_goal for entry in repeats)


def _edges(space: Space, trials: Sequence[Entry]) -> list[Edge]:
    return [edge for best in ranked(trials)[:1] for edge in space.edges(best.config)]


def _error_at(entry: Entry, step: int) -> float:
    """Return the least error up to a step."""
    return min(error for at, error in entry.ran.curve if at <= step)


def _first_at(entry: Entry, goal: float, otherwise: int) -> int:
    return next((at for at, error in entry.ran.curve if error <= goal), otherwise)
