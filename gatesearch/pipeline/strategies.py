"""How a run searches: each plan by a training of its own, or over a supernet, which has few of them trained.

Either way what is in the study, and what is picked from, are trained plans.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from gatesearch._lib import console
from gatesearch.errors import UserError
from gatesearch.pipeline.study import Study
from gatesearch.plan import GatePlan, Scalar
from gatesearch.report.record import ENGINE, reference_point
from gatesearch.search import engine, executors
from gatesearch.search.evaluation import Evaluated
from gatesearch.search.progress import Watch
from gatesearch.search.sampler import choice
from gatesearch.search.sampler.gate_sampler import GateSampler
from gatesearch.search.sampler.initial import first_proposals, opening, starts
from gatesearch.search.supernet import cannot_express
from gatesearch.search.supernet.agreement import Agreement
from gatesearch.search.supernet.reader import Reader
from gatesearch.search.supernet.shortlist import sample, shortlist

if TYPE_CHECKING:
    from gatesearch.pipeline.steps import Run
    from gatesearch.search.engine import SearchResult, Trial

JOURNAL = "supernet.journal"


def search(run: Run) -> SearchResult:
    """Search as the recipe says; :data:`gatesearch.report.record.ENGINE` tells which engine it was in the end, and why.

    Raises:
        UserError: the recipe asks for a supernet, and a supernet cannot hold the space.
    """
    return ENGINES[run.recipe.search.engine](run)


def _by_trials(run: Run, why: str = "the recipe says search.engine=trials") -> SearchResult:
    run.folder.write_json(ENGINE, {"used": "trials", "why": why})
    return _tried(run, _first(run), run.recipe.search.trials)


def _by_either(run: Run) -> SearchResult:
    why = cannot_express(run.setting.space, run.recipe.goal)
    if why is None:
        return _by_supernet(run)
    console.say(f"engine: trials; a supernet cannot hold this space: {why}")
    return _by_trials(run, f"a supernet cannot hold this space: {why}")


def _by_supernet(run: Run) -> SearchResult:
    if (why := cannot_express(run.setting.space, run.recipe.goal)) is not None:
        raise UserError(f"search.engine: supernet: it cannot hold this space: {why}; take trials or auto")
    if run.folder.read_json(ENGINE) is not None:  # the search has ended
        return Study.of(run.recipe, run.folder).read()
    return _Supernet(run).search()


ENGINES = {"trials": _by_trials, "supernet": _by_supernet, "auto": _by_either}


def _tried(run: Run, first: Sequence[Mapping[str, Scalar]], trials: int) -> SearchResult:
    """Try plans, each by a training of its own, until so many are in the run's study.

    Args:
        run: that searches.
        first: what the first proposals choose; those of the sampler follow.
        trials: how many, those of earlier calls and sessions counted.
    """
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
    limit = min(trials, len(s.space))
    with watch, console.progress(limit, "search", done=len(past.tried)) as bar:

        def seen(trial: Trial) -> None:
            watch(trial)
            bar.advance(int(trial.state in engine.TRIED), note=watch.note)

        return engine.search(
            s.space,
            run.price_violations,
            run.evaluate,
            journal=study.where,
            study=study.name,
            trials=trials,
            proposals=chosen.proposals,
            seed=run.recipe.seed,
            first=first,
            on_trial=seen,
            executor=executors.build(chosen.executor, run.evaluate, run.folder / "logs" / "ray"),
            sampler=_sampler(run),
            halving=run.halving,
        )


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


class _Supernet:
    """A search over a supernet: train it, compare it with a sample of trained plans, search, train its front."""

    def __init__(self, run: Run) -> None:
        self.run, self.space, self.chosen = run, run.setting.space, run.recipe.search.supernet
        s = run.setting
        f = s.features
        self.reader = Reader(run.supernet, f.validation, f.positive, f.kind_names, run.calibration)
        self.sample = sample(self.space, partial(_before_training, run), self.chosen.sample, run.recipe.seed)

    def search(self) -> SearchResult:
        """Return the trained plans: sample and front, or what the trials' engine makes of the sample."""
        run, bar = self.run, self.chosen.tau
        begun = [self.space.named(plan) for plan in self.sample]
        trials = {trial.plan: trial for trial in _tried(run, begun, len(begun)).complete}
        pairs = [(trials[plan], self.reader(plan.gates).value) for plan in self.sample if plan in trials]
        agreement = Agreement.of([estimate for _, estimate in pairs], [_quality(trial) for trial, _ in pairs])
        measured = f"Kendall's tau {agreement.tau:.2f} against {agreement.plans} trained plans"
        note = asdict(agreement) | {
            "bar": bar,
            "sample": [
                {"digest": trial.plan.digest, "estimated": estimate, "trained": _quality(trial)}
                for trial, estimate in pairs
            ],
        }
        if agreement.tau < bar:
            return self._fall_back(f"{measured} is below search.supernet.tau={bar:g}", note)
        console.say(f"supernet: {measured}, at least {bar:g}: the search goes over it")
        started = time.monotonic()
        found = self._over(agreement)
        note |= {"evaluations": len(found.complete), "seconds": time.monotonic() - started}
        if not found.front:
            return self._fall_back("by the supernet no plan keeps the constraints", note)
        kept = [trial for trial in found.complete if trial.feasible]
        listed = [plan for plan in shortlist(kept, self.chosen.front) if plan not in trials]
        listed = listed[: run.recipe.search.trials - len(begun)]
        console.say(
            f"supernet: {len(found.complete)} plans read, {len(found.front)} on its front; "
            f"{len(listed)} there or close behind are trained now"
        )
        result = _tried(run, [*begun, *map(self.space.named, listed)], len(begun) + len(listed))
        why = f"{measured}, at least {bar:g}"
        run.folder.write_json(ENGINE, {"used": "supernet", "why": why, **note, "front": len(found.front)})
        return result

    def _over(self, agreement: Agreement) -> SearchResult:
        """Search with what the supernet says in place of trainings."""
        run = self.run

        def estimated(plan: GatePlan) -> Evaluated:
            figures = self.reader(plan.gates)
            return run.judged(plan, replace(figures, accuracy=agreement.on_scale(figures.accuracy)))

        limit = min(self.chosen.evaluations, len(self.space))
        with console.progress(limit, "search the supernet") as bar:

            def seen(trial: Trial) -> None:
                bar.advance(int(trial.state == "complete"))

            return engine.search(
                self.space,
                run.price_violations,
                estimated,
                journal=run.folder / JOURNAL,
                trials=self.chosen.evaluations,
                proposals=max(self.chosen.evaluations, run.recipe.search.proposals),
                seed=run.recipe.seed,
                first=_first(run),
                on_trial=seen,
                sampler=_sampler(run),
            )

    def _fall_back(self, why: str, note: Mapping[str, Any]) -> SearchResult:
        console.say(f"supernet: {why}: falls back to trained trials")
        run = self.run
        begun = [self.space.named(plan) for plan in self.sample]
        more = [first for first in _first(run) if first not in begun]
        result = _tried(run, [*begun, *more], run.recipe.search.trials)
        run.folder.write_json(ENGINE, {"used": "trials", "why": why, **note})
        return result


def _quality(trial: Trial) -> float:
    assert trial.objectives is not None
    return trial.objectives.accuracy
