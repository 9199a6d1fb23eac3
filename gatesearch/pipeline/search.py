"""The step ``search`` of a run: briefly trains and judges each proposed plan that its price allows."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial

from gatesearch._lib import console
from gatesearch.cost.model import CostModel
from gatesearch.pipeline.constraints import is_affordable, price_violations
from gatesearch.pipeline.evaluate import Evaluator
from gatesearch.pipeline.heads import train_heads
from gatesearch.pipeline.opening_record import OPENING_FILE, opening_record, reference_point
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.study import JOURNAL_FILE, Study
from gatesearch.pipeline.training import Baseline
from gatesearch.plan import GatePlan, Scalar
from gatesearch.report.record import trials as trial_tables
from gatesearch.search import engine, executors
from gatesearch.search.progress import ProgressMonitor
from gatesearch.search.result import COMPOSED, TRAINED_STATES, SearchResult, Trial
from gatesearch.search.sampler import GateSampler, choice
from gatesearch.search.sampler.initial import initial_params, opening_gates, simplest_gates
from gatesearch.search.settings import SearchSettings

CHECKPOINTS = "logs/trials"


def search(problem: Problem, baseline: Baseline, cost: CostModel, folder: RunFolder) -> SearchResult:
    """Try plans until the study holds as many trials as the recipe asks for; trials of earlier sessions count."""
    folder.write_json(OPENING_FILE, opening_record(problem, cost, folder))
    evaluate = Evaluator(problem, baseline, cost, folder / CHECKPOINTS, train_heads(problem, baseline, folder))
    folder.checksums.forget(JOURNAL_FILE)  # each trial appends to it, and has a checksum of its own
    result = _drive(problem, cost, folder, evaluate)
    if (folder / JOURNAL_FILE).is_file():
        folder.checksums.expect(JOURNAL_FILE, (folder / JOURNAL_FILE).read_bytes())
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)  # checkpoints of interrupted trials
    write_trials(result, folder)
    return result


def write_trials(
    result: SearchResult, folder: RunFolder, path_times: Mapping[str, Mapping[str, float]] | None = None
) -> None:
    """Write trials.csv and pareto.csv, with the measured times of plans that were timed."""
    rows = trial_tables.trial_rows(result, path_times or {})
    folder.write_csv("trials.csv", trial_tables.TRIAL_COLUMNS, rows)
    folder.write_csv("pareto.csv", trial_tables.TRIAL_COLUMNS, [row for row in rows if row["on_front"]])


def describe_search(problem: Problem, result: SearchResult) -> str:
    """Return a line with the numbers of plans that were tried, were ruled out, and are on the front."""
    states = [trial.state for trial in result.trials]
    decided = states.count("complete") + states.count("priced_out") + states.count("failed")
    composed = sum(trial.method == COMPOSED for trial in result.trials)
    parts = f" ({composed} composed, {states.count('complete') - composed} trained)" if composed else ""
    failed = f"{states.count('failed')} failed, " if "failed" in states else ""
    end = "; the space holds no other plan" if decided == len(problem.space) else ""
    return (
        f"search: {states.count('complete')} plans tried{parts}, {states.count('priced_out')} ruled out by price, "
        f"{failed}{states.count('duplicate')} repeats not tried, {len(result.front)} on the front{end}"
    )


def _drive(problem: Problem, cost: CostModel, folder: RunFolder, evaluate: Evaluator) -> SearchResult:
    """Open the study, run the search with the recipe's executor, and show its progress."""
    recipe = problem.recipe
    study = Study.find(recipe, folder)
    settings = SearchSettings(
        journal=study.place,
        study=study.name,
        trials=recipe.search.trials,
        proposals=recipe.search.proposals,
        seed=recipe.seed,
        initial=_initial_params(problem, cost),
        sampler=_sampler(problem, cost),
    )
    executor = executors.build(recipe.search.executor, evaluate, folder / "logs" / "ray")
    limit = min(recipe.search.trials, len(problem.space))
    with ExitStack() as stack:
        session = stack.enter_context(
            engine.open_session(problem.space, partial(price_violations, recipe, cost), settings)
        )
        past = SearchResult(tuple(session.ended))
        if (loss := study.describe_loss(past, folder)) is not None:
            console.warn(f"{loss}; the others are tried again")
            write_trials(past, folder)
        monitor = stack.enter_context(
            ProgressMonitor(
                past.trials,
                reference=reference_point(cost),
                objective=recipe.pick.objective,
                quality=problem.goal.quality,
                logs=folder / "logs" / "search",
            )
        )
        bar = stack.enter_context(console.progress(limit, "search", done=len(past.trained)))

        def show(trial: Trial) -> None:
            monitor(trial)
            bar.advance(int(trial.state in TRAINED_STATES), note=monitor.note)

        session.on_trial = show
        executor.run(session)
        return session.result()


def _sampler(problem: Problem, cost: CostModel) -> GateSampler | choice.SamplerFactory:
    """Return the sampler that the recipe names."""
    recipe = problem.recipe
    if recipe.search.sampler != "gate":
        return choice.build_optuna_sampler(recipe.search.sampler, recipe.seed)
    return GateSampler(
        problem.space,
        cost.run_costs,
        shares=cost.shares,
        allowed=partial(is_affordable, recipe, cost),
        seed=recipe.seed,
    )


def _initial_params(problem: Problem, cost: CostModel) -> list[dict[str, Scalar]]:
    """Return the parameters of the first proposals."""
    gates = opening_gates if problem.recipe.search.sampler == "gate" else simplest_gates
    return initial_params(problem.space, partial(_energy_bound, problem, cost), gates(problem.space))


def _energy_bound(problem: Problem, cost: CostModel, plan: GatePlan) -> float:
    """Return the energy of a plan [uJ] if every window passes its gates; infinite where its price rules it out."""
    return cost.bound(plan).energy.total_uj if is_affordable(problem.recipe, cost, plan) else math.inf
