"""Retrains and exports a plan that a user chooses after the search, without searching again."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from gatesearch._lib import console, interrupts
from gatesearch._lib.allocator import memory_reuse
from gatesearch.errors import UserError, unknown
from gatesearch.pipeline.choice import PlanChoice, describe_off_front, rank_choice
from gatesearch.pipeline.measurements import measure_front
from gatesearch.pipeline.opening_record import OPENING_FILE
from gatesearch.pipeline.pick import MODEL_FILE, retrain_first
from gatesearch.pipeline.pick_dir import PickFolder
from gatesearch.pipeline.problem import Inputs
from gatesearch.pipeline.refusal import store_refusal
from gatesearch.pipeline.result import RunResult
from gatesearch.pipeline.results_check import check_results, read_trials
from gatesearch.pipeline.run import build_artifacts, check_ready, prepare
from gatesearch.pipeline.run_dir import RunFolder, resume_hint
from gatesearch.pipeline.steps import STEPS
from gatesearch.pipeline.weights import state_bytes
from gatesearch.recipe import Recipe, load_run, mark_run
from gatesearch.search.result import SearchResult
from gatesearch.training.threads import fitting_threads

P = ParamSpec("P")
R = TypeVar("R")


def pick(
    path: Path, choice: PlanChoice, until: str = "report", inputs: Inputs | None = None, *, trust: bool = False
) -> RunResult:
    """Retrain and export a plan of a run's search; the results are in RUN/picks/DIGEST, and the run's stay as they are.

    A second call does not repeat finished work, and goes on with interrupted work.

    Args:
        path: the run folder.
        choice: the plan, or the rule that chooses it.
        until: the last step to do, one of :data:`STEPS` from ``retrain`` on.
        inputs: a network and data of the calling program, in place of those that the recipe names.
        trust: see :func:`gatesearch.pipeline.run.resume`.

    Raises:
        UserError: the search has not ended, no plan is such, or the environment lacks something.
    """
    if until not in list(STEPS)[1:]:
        raise unknown("pick", "step", until, list(STEPS)[1:])
    with console.collect_warnings() as warnings:
        recipe = load_run(path, trust=trust)
        check_ready(recipe)
        run = RunFolder(path)
        trials = read_search(recipe, run)
        ranking = rank_choice(choice, recipe, trials, read_opening(run)["data"]["period_s"])
        with resume_hint(f"gatesearch pick {path} {choice}".rstrip()), run.driver_lock():
            if trust:
                mark_run(path, recipe)
            with fitting_threads(), memory_reuse():
                started = time.monotonic()
                problem, cost, baseline = prepare(recipe, run, inputs, _call)
                best = retrain_first(ranking, problem, baseline, cost, run, str(choice) or "the recipe's rule")
                seconds = time.monotonic() - started
                folder = PickFolder(run, best.trial.plan.digest)
                console.say(f"picked: {best.trial.plan}")
                if (line := describe_off_front(best.trial, trials.front)) is not None:
                    console.warn(line)
                with folder.driver_lock(), folder.stored_warnings(), store_refusal(folder):
                    for line in warnings:
                        folder.store_warning(line)
                    console.say(f"folder of the pick: {folder.path}")
                    folder.check_outputs()
                    folder.add_seconds("retrain", seconds)
                    folder.write(MODEL_FILE, state_bytes(best.model))
                    result = RunResult(
                        folder=folder,
                        problem=problem,
                        baseline=baseline,
                        cost=cost,
                        trials=trials,
                        path_times=measure_front(problem, baseline, cost, trials, run),
                        best=best,
                    )
                    return build_artifacts(result, best, until)


def _call(step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Do a step without an account of its time: the run's account is complete."""
    interrupts.check()
    return step(*args, **kwargs)


def read_search(recipe: Recipe, folder: RunFolder) -> SearchResult:
    """Return the trials of a search that has ended.

    Raises:
        UserError: the search has not ended, or a result of the run is missing or changed.
    """
    check_results(folder.path)
    trials = read_trials(recipe, folder)
    listed = folder.listed_trials()
    if not listed or listed < len(trials.trials):  # the end of a search writes the table
        raise UserError(
            f"{folder.path}: its search has not ended ({len(trials.trained)} of {recipe.search.trials} trials); go on "
            f"with it: {folder.resume_command}"
        )
    return trials


def read_opening(folder: RunFolder) -> dict[str, Any]:
    """Return the part of a run's record that was written when its search started.

    Raises:
        UserError: the folder does not hold it.
    """
    opening = folder.read_json(OPENING_FILE)
    if opening is None:
        raise UserError(f"{folder / OPENING_FILE}: no such file; make it: {folder.resume_command}")
    return dict(opening)
