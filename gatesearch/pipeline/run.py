"""Runs the steps of a recipe in order; this is the only module that defines the order.

A step is a function from values to values. A step that takes long stores its result in the run folder, completely or
not at all. If the result is already there, the step loads it. So an interrupted run continues where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from gatesearch._lib import console
from gatesearch._lib.allocator import memory_reuse
from gatesearch._lib.files import DamagedFile
from gatesearch._lib.plugins import EXTRAS, need
from gatesearch.cost.model import CostModel
from gatesearch.errors import UserError, unknown
from gatesearch.export.verify import list_shortfalls
from gatesearch.pipeline.best_record import assess_best
from gatesearch.pipeline.composed_order import compare_order
from gatesearch.pipeline.dry_run import dry_run
from gatesearch.pipeline.export import export, print_parity, verify
from gatesearch.pipeline.extension import extend_recipe, store_extension
from gatesearch.pipeline.final_record import build_record, write_record
from gatesearch.pipeline.firmware import build_firmware
from gatesearch.pipeline.listening import measure_listening
from gatesearch.pipeline.measurements import describe_front, measure_front, measure_stream, warn_of_engines
from gatesearch.pipeline.opening_record import unfinished_record
from gatesearch.pipeline.origin import check_origin
from gatesearch.pipeline.pick import BestPlan, retrain_best
from gatesearch.pipeline.pricing import build_cost_model, check_prices
from gatesearch.pipeline.problem import Inputs, Problem, describe_data, load_problem
from gatesearch.pipeline.refusal import list_entries, remove_unless_started, store_refusal
from gatesearch.pipeline.result import RunOutputs, RunResult
from gatesearch.pipeline.results_check import check_results
from gatesearch.pipeline.run_dir import RunFolder, check_unused
from gatesearch.pipeline.search import describe_search, search
from gatesearch.pipeline.staging import discard_staging, finish_swap, folder_of_best, publish
from gatesearch.pipeline.steps import STEPS
from gatesearch.pipeline.stream_comparison import compare_stream
from gatesearch.pipeline.tflm import verify_tflm
from gatesearch.pipeline.training import Baseline, train_baseline
from gatesearch.recipe import Recipe, load_run, mark_run, to_yaml
from gatesearch.report import write_page
from gatesearch.training.threads import fitting_threads

P = ParamSpec("P")
R = TypeVar("R")


class StepTimer(Protocol):
    """Does a step, and accounts for its time."""

    def __call__(self, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:  # noqa: D102
        ...


def start(recipe: Recipe, out: Path | None = None, inputs: Inputs | None = None) -> RunResult:
    """Make a run folder, and do all steps from data to report.

    Args:
        recipe: a checked recipe.
        out: the run folder; None for runs/RECIPE-N.
        inputs: a network and data of the calling program, in place of those that the recipe names.

    Raises:
        UserError: the input is wrong, or the environment lacks something.
    """
    check_ready(recipe)
    earlier = list_entries(out)
    folder = RunFolder.new(recipe.name or "run", out)
    with folder.named_in_errors(), folder.driver_lock():
        check_unused(folder.path)  # checked again under the lock: another process may have started a run in the folder
        with remove_unless_started(folder, earlier):
            folder.write("recipe.yaml", to_yaml(recipe))
            mark_run(folder.path, recipe)
            return do_steps(recipe, folder, inputs)


def resume(
    path: Path,
    until: str = "report",
    inputs: Inputs | None = None,
    *,
    trust: bool = False,
    warnings: Sequence[str] = (),
    trials: int | None = None,
) -> RunResult:
    """Continue the run in a folder, up to a step; steps that are done are not repeated.

    With more trials, a finished run goes on, too. Its old best plan stays until the new one is there.

    Args:
        path: the run folder.
        until: the last step to do, one of :data:`STEPS`.
        inputs: a network and data of the calling program, in place of those that the recipe names.
        trust: whether to use the modules and clusters that the folder's recipe names, in this and in later calls, even
            if the folder was made on another machine.
        warnings: the warnings that the caller printed, for the run's record.
        trials: a larger number of trials; None for that of the recipe. The recipe in the folder then asks for it.

    Raises:
        UserError: the input is wrong, or the environment lacks something.
    """
    if until not in STEPS:
        raise unknown("run", "step", until, STEPS)
    with console.collect_warnings() as recipe_warnings:
        recipe = load_run(path, trust=trust)
    folder = RunFolder(path)
    with folder.named_in_errors(), folder.driver_lock():
        for line in (*warnings, *recipe_warnings):
            folder.store_warning(line)
        if trials is not None:
            with console.divert_warnings():
                recipe = load_run(path, trust=trust)  # again under the lock: another process may have extended the run
        extended = extend_recipe(recipe, trials)
        if trust:
            mark_run(path, recipe)
        if extended != recipe:
            finish_swap(folder)
            discard_staging(folder)  # what an earlier extension has not finished
            store_extension(recipe, extended, folder)
        return do_steps(extended, folder, inputs, until)


def check_ready(recipe: Recipe) -> None:
    """Refuse a run that cannot reach its end; call this before the run has a folder.

    Raises:
        UserError: an extra is missing, or the batch size is not resolved yet.
    """
    need("gatesearch run", *EXTRAS["export"], *EXTRAS["report"])
    if recipe.retrain.batch_size == "auto":
        raise UserError(
            "retrain.batch_size: auto: no study has set the batch size yet; run gatesearch scaling, or set a number"
        )


def do_steps(recipe: Recipe, folder: RunFolder, inputs: Inputs | None = None, until: str = "report") -> RunResult:
    """Do the steps of a run, in order, up to one of :data:`STEPS`; the caller holds the folder's lock."""
    check_ready(recipe)
    with folder.stored_warnings(), store_refusal(folder), fitting_threads(), memory_reuse():
        console.say(f"run folder: {folder.path}")
        folder.check_outputs()
        problem, cost, baseline = prepare(recipe, folder, inputs, folder.timed)
        console.say(f"space: {len(problem.space):,} plans over {len(problem.space.cut_sites)} sites")
        trials = folder.timed(search, problem, baseline, cost, folder)
        console.say(describe_search(problem, trials))
        order = folder.timed(compare_order, problem, baseline, cost, trials, folder)
        if order is not None:
            console.say(order.describe())
        path_times = folder.timed(measure_front, problem, baseline, cost, trials, folder)
        if path_times:
            console.say(describe_front(path_times, trials))
        result = RunResult(
            folder=folder,
            problem=problem,
            baseline=baseline,
            cost=cost,
            trials=trials,
            path_times=path_times,
            order=order,
        )
        if until == "search":
            return result

        target = folder_of_best(recipe, folder)
        best = folder.timed(retrain_best, problem, baseline, cost, trials, target)
        console.say(f"picked: {best.trial.plan}")
        result = build_artifacts(replace(result, folder=target, best=best), best, until)
        return publish(result) if until == "report" else result


def prepare(
    recipe: Recipe, folder: RunFolder, inputs: Inputs | None, timed: StepTimer
) -> tuple[Problem, CostModel, Baseline]:
    """Do the steps before the search; see :func:`price_problem` for the arguments."""
    problem, cost = price_problem(recipe, folder, inputs, timed)
    return problem, cost, timed(train_baseline, problem, folder)


def price_problem(
    recipe: Recipe, folder: RunFolder, inputs: Inputs | None, timed: StepTimer
) -> tuple[Problem, CostModel]:
    """Do the steps before the first training: return the problem and the cost model.

    Args:
        recipe: the recipe of the run.
        folder: the folder of the run.
        inputs: a network and data of the calling program, in place of those that the recipe names.
        timed: does a step, as :meth:`RunFolder.timed` does.
    """
    problem = timed(load_problem, recipe, inputs)
    console.say(describe_data(problem))
    if problem.hops is not None:
        console.say(problem.hops.describe())
    timed(check_origin, problem, folder)
    problem = timed(dry_run, problem, folder)
    cost = timed(build_cost_model, problem, problem.backbone, folder)
    check_prices(problem, cost)
    return problem, cost


def build_artifacts(result: RunResult, best: BestPlan, until: str) -> RunResult:
    """Do the steps after the retraining of a plan, from its bundle to its report, up to one of :data:`STEPS`.

    Args:
        result: the values of the steps before; their folder takes the results.
        best: the retrained plan.
        until: the last step to do.
    """
    problem, cost, folder, timed = result.problem, result.cost, result.folder, result.folder.timed
    if until == "retrain":
        return result

    bundle = timed(export, problem, cost, best, folder)
    result = replace(result, bundle=bundle)
    if until == "export":
        return result

    parity = timed(verify, problem, bundle)
    print_parity(parity)
    shortfalls = list_shortfalls(parity, **problem.recipe.verify.model_dump())
    for line in shortfalls:
        console.warn(line)
    firmware = timed(build_firmware, problem, bundle, folder)
    if firmware is not None and firmware.problem is not None:
        shortfalls = (*shortfalls, firmware.problem)
    tflm_problem = verify_tflm(bundle, folder)
    if tflm_problem is not None:
        shortfalls = (*shortfalls, tflm_problem)
    result = replace(result, parity=parity, shortfalls=shortfalls)
    if until != "report":
        return result

    stream = timed(measure_stream, problem, bundle, folder)
    timed(warn_of_engines, cost, best, firmware)
    listening = timed(measure_listening, problem, bundle, best, folder)
    outputs = RunOutputs(
        problem=problem,
        cost=cost,
        trials=result.trials,
        path_times=result.path_times,
        best=best,
        bundle=bundle,
        parity=parity,
        stream=stream,
        listening=listening,
        firmware=firmware,
        order=result.order,
    )
    figures = timed(assess_best, outputs)
    comparison = timed(compare_stream, outputs, figures, result.baseline, folder)
    record = timed(build_record, outputs, figures, comparison, folder)
    write_record(record, problem, bundle, folder)
    return replace(result, record=record)


def report(path: Path, *, trust: bool = False) -> None:
    """Write the report of a run's results so far, even during the run; see :func:`resume` for ``trust``.

    Raises:
        UserError: a result that the run wrote is missing or changed.
    """
    check_results(path)
    try:
        unfinished = unfinished_record(load_run(path, trust=trust), RunFolder(path))
    except DamagedFile as error:
        raise UserError(f"{error}; write it again: gatesearch run resume={path}") from None
    page = write_page(path, unfinished)
    note = "" if unfinished is None else f" (unfinished: {len(unfinished['trials'])} trials so far)"
    console.say(f"report: {page}{note}")
