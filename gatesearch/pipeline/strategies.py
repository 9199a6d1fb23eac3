"""How a run searches: each plan that its price allows is tried by a training of its own."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from gatesearch._lib import console
from gatesearch.pipeline.study import Study
from gatesearch.plan import GatePlan, Scalar
from gatesearch.report.record import reference_point
from gatesearch.search import engine, executors
from gatesearch.search.progress import Watch
from gatesearch.search.sampler import choice
from gatesearch.search.sampler.gate_sampler import GateSampler
from gatesearch.search.sampler.initial import first_proposals, opening, starts

if TYPE_CHECKING:
    from gatesearch.pipeline.steps import Run
    from gatesearch.search.engine import SearchResult, Trial


def search(run: Run) -> SearchResult:
    """Try plans until the run's study holds as many as the recipe asks for; those of earlier sessions count."""
    s, chosen = run.setting, run.recipe.search
    study = Study.of(run.recipe, run.folder)
    past = study.read()
    watch = Watch(
        past.trials,
        reference=reference_point(run),
        objective=run.recipe.pick.objective,
        quality=s.goal.quality,
        logs=run.folder / "logs" / "search",
    )
    limit = min(chosen.trials, len(s.space))
    with watch, console.progress(limit, "search", done=len(past.tried)) as bar:

        def seen(trial: Trial) -> None:
            watch(trial)
            bar.advance(int(trial.state in engine.TRIED), note=watch.note)

        settings = engine.SearchSettings(
            journal=study.where,
            study=study.name,
            trials=chosen.trials,
            proposals=chosen.proposals,
            seed=run.recipe.seed,
            first=_first(run),
            on_trial=seen,
            sampler=_sampler(run),
        )
        executor = executors.build(chosen.executor, run.evaluate, run.folder / "logs" / "ray")
        return engine.search(s.space, run.price_violations, run.evaluate, settings, executor)


def _sampler(run: Run) -> choice.Chosen:
    """Return the sampler of the recipe, by the number of the proposal."""
    name, seed, cost = run.recipe.search.sampler, run.recipe.seed, run.cost
    if name != "gate":
        return choice.build(name, seed)
    ours = GateSampler(run.setting.space, cost.runs, shares=cost.shares, allowed=run.affordable, seed=seed)
    return lambda number: ours


def _first(run: Run) -> list[dict[str, Scalar]]:
    """Return what the first proposals choose."""
    space = run.setting.space
    begin = opening(space) if run.recipe.search.sampler == "gate" else starts(space)
    return first_proposals(space, partial(_before_training, run), begin)


def _before_training(run: Run, plan: GatePlan) -> float:
    """Return the energy of a plan all of whose windows pass; infinite where its price rules it out."""
    return run.cost.bound(plan).energy.total_uj if run.affordable(plan) else math.inf
