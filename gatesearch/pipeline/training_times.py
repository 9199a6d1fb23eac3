"""Times a few steps of each training of a run, and counts the steps that the run will do."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gatesearch._lib import console
from gatesearch.gates import trained_form
from gatesearch.model import GatedModel
from gatesearch.pipeline.heads import gates_that_train_alone
from gatesearch.pipeline.problem import Problem
from gatesearch.plan import GatePlan
from gatesearch.training import Schedule, fit
from gatesearch.training.features import Batches

STEPS = 8  # steps that are timed, after those in which libraries choose kernels and memory is requested
FIRST_STEPS = 2
RETRAINED = 2  # trainings of the step `retrain`: the ungated backbone and the best plan
TRAINED_RIVALS = {"hand_placed": "retrain", "smaller_ungated": "training"}  # the schedule of each


@dataclass(frozen=True)
class Phase:
    """The trainings of one phase of a run.

    Args:
        name: the name of the phase.
        trainings: the number of trainings.
        steps: the number of steps of each training.
        step_s: the seconds of a step, measured: the median of a few.
        evaluations: the number of models whose gates are calibrated and whose quality is measured.
        evaluation_s: the seconds of an evaluation on the validation split, measured once.
        workers: the number of processes that share the work.
    """

    name: str
    trainings: int
    steps: int
    step_s: float
    evaluations: int = 0
    evaluation_s: float = 0.0
    workers: int = 1

    @property
    def seconds(self) -> float:
        """The expected seconds of the phase.

        >>> Phase("search", trainings=40, steps=100, step_s=0.03, evaluations=40, evaluation_s=0.5, workers=2).seconds
        70.0
        """
        work = self.trainings * self.steps * self.step_s + self.evaluations * self.evaluation_s
        return work / self.workers


def time_phases(problem: Problem, plans: Sequence[GatePlan]) -> list[Phase]:
    """Return the phases of a run with their expected times.

    Steps are timed on the ungated backbone and on the plan with the most gates. Plans that the search composes count as
    evaluations alone.

    Args:
        problem: the problem of the run.
        plans: plans of the space; the search composes the same share of its plans as of these.
    """
    recipe, space = problem.recipe, problem.space
    with console.progress(3, "time steps") as bar:
        ungated = _model(problem, GatePlan())
        ungated_s = time_step(problem, ungated, problem.schedule())
        bar.advance(note="ungated network")
        gated = _model(problem, max(plans, key=lambda plan: len(plan.gates)))
        gated_s = time_step(problem, gated, problem.schedule(recipe.search))
        bar.advance(note="search")
        retrain_s = time_step(problem, gated, problem.schedule(recipe.retrain))
        bar.advance(note="retrain")
    evaluation_s = _time_evaluation(problem, gated)

    def count(schedule: Schedule) -> int:
        return schedule.epochs * len(Batches(problem.features, schedule.batch_size))

    def phases() -> Iterator[Phase]:
        training, search, retrain = (count(problem.schedule(step)) for step in (None, recipe.search, recipe.retrain))
        yield Phase("baseline", 1, training, ungated_s, 1, evaluation_s)
        trials = min(recipe.search.trials, len(space))
        heads = frozenset(gates_that_train_alone(problem)) if recipe.search.compose else frozenset()
        composed = [plan for plan in plans if heads.issuperset(map(trained_form, plan.gates))] if heads else []
        most = len({plan.gates for plan in plans})  # plans that differ in their cores alone share a training
        trained = min(most, math.ceil(trials * (1 - len(composed) / len(plans))))
        if heads:
            yield Phase("heads", 2, search, gated_s)
        workers = min(recipe.search.executor.workers, trials)
        yield Phase("search", trained, search, gated_s, trials, evaluation_s, workers)
        if composed:
            finalists = min(recipe.search.finalists, trials)
            yield Phase("finalists", finalists, search, gated_s, finalists, evaluation_s)
        yield Phase("retrain", RETRAINED, retrain, retrain_s, RETRAINED, evaluation_s)
        if problem.features.validation.stream is not None:
            steps = {"retrain": (retrain, retrain_s), "training": (training, ungated_s)}
            for name in recipe.stream.rivals:
                if name in TRAINED_RIVALS:
                    yield Phase(f"rival {name}", 1, *steps[TRAINED_RIVALS[name]])

    return list(phases())


def time_step(problem: Problem, model: GatedModel, schedule: Schedule) -> float:
    """Return the median seconds of a few steps of a training, which changes the model."""
    ends: list[float] = []
    total = FIRST_STEPS + STEPS
    epochs = math.ceil(total / len(Batches(problem.features, schedule.batch_size)))
    fit(
        model,
        problem.features,
        replace(schedule, epochs=epochs, hard_negatives=0.0),
        problem.gates,
        seed=problem.recipe.seed,
        goal=problem.goal,
        augment=problem.augment,
        on_step=lambda: ends.append(time.perf_counter()),
        max_steps=total,
    )
    return statistics.median(end - start for start, end in itertools.pairwise(ends[FIRST_STEPS - 1 :]))


def _time_evaluation(problem: Problem, model: GatedModel) -> float:
    """Return the seconds in which a model's gates are calibrated and its quality is measured."""
    validation, started = problem.features.validation, time.perf_counter()
    problem.goal.calibrate(model, validation, problem.features.positive, None)
    problem.goal.assess(model, validation)
    return time.perf_counter() - started


def _model(problem: Problem, plan: GatePlan) -> GatedModel:
    return GatedModel(problem.backbone, plan, problem.sites, problem.outputs, layers=problem.layers)
