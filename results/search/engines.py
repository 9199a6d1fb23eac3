"""The search engines that the ``search`` benchmark compares: GateSampler, random draws, and other libraries.

Each engine proposes plans to a replay. The replay looks up the outcomes of these plans in a recorded table.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from random import Random

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from gatesearch._lib.quiet_optuna import quiet_optuna
from gatesearch.plan import GatePlan
from gatesearch.search.sampler import GateSampler
from gatesearch.search.sampler.history import REACH_ATTR
from gatesearch.search.sampler.initial import opening_gates
from gatesearch.search.sampler.neighbours import Candidates
from gatesearch.search.space import Space
from results.search.library_engines import pymoo_nsga2, suggested_names, syne_tune_moasha
from results.search.replay import Budget, Replay
from results.search.table import Table

Engine = Callable[[Replay, int], None]


def gate(replay: Replay, seed: int) -> None:
    """Replay GateSampler, with the same arguments as in a run."""
    _study(replay, _gate_sampler(replay.table, seed))


def _gate_sampler(table: Table, seed: int) -> GateSampler:
    prices = dict(zip(table.plans, table.runs, strict=True))
    return GateSampler(
        table.space,
        prices.__getitem__,
        shares=table.shares,
        allowed=lambda plan: bool(table.allowed[table.index[plan]]),
        initial=opening_gates(table.space),
        seed=seed,
    )


def sparse_random(replay: Replay, seed: int) -> None:
    """Replay random draws, in which plans with few gates are more frequent, and no plan is drawn twice."""
    draw = _sparse(replay.table.space, seed)
    try:
        while True:
            replay.ask(replay.timed(draw))
    except Budget:
        return


def _sparse(space: Space, seed: int) -> Callable[[], GatePlan]:
    generator, draws, drawn = Random(seed), Candidates(space), set[GatePlan]()

    def draw() -> GatePlan:
        if len(drawn) == len(space):
            raise Budget
        while True:
            gates = draws.draw(generator)
            plan = generator.choice(space.plans_for(gates))
            if plan not in drawn:
                drawn.add(plan)
                return plan

    return draw


def _with(make: Callable[[int], BaseSampler], whole: bool = False) -> Engine:
    def engine(replay: Replay, seed: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            sampler = make(seed)
        _study(replay, sampler, whole)

    return engine


def _study(replay: Replay, sampler: BaseSampler, whole: bool = False) -> None:
    """Let an Optuna sampler propose plans until the budget is spent.

    Args:
        replay: the replay that returns the outcomes.
        sampler: the sampler that proposes plans.
        whole: whether a trial suggests every parameter of the space, even parameters that its plan does not need. A
            sampler that does not support conditional parameters needs this.
    """
    table, names = replay.table, suggested_names(replay.table.space) if whole else {}

    def suggest() -> tuple[optuna.Trial, GatePlan]:
        trial = study.ask()
        for name, choices in names.items():
            trial.suggest_categorical(name, list(choices))
        return trial, table.space.propose(trial)

    with quiet_optuna(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study = optuna.create_study(directions=["maximize", "minimize", "minimize"], sampler=sampler)
        while True:
            trial, plan = replay.timed(suggest)
            try:
                number = replay.ask(plan)
            except Budget:
                return
            if number is None:
                study.tell(trial, state=TrialState.PRUNED)
                continue
            trial.set_user_attr(REACH_ATTR, table.passed[number][-1])
            trial.set_constraint("drop", replay.excess(number))
            error, latency, energy = table.point(number)
            study.tell(trial, (1 - error, latency, energy))


ENGINES: Mapping[str, Engine] = {
    "GateSampler": gate,
    "random": _with(lambda seed: optuna.samplers.RandomSampler(seed)),
    "sparse random": sparse_random,
    "Optuna TPE": _with(lambda seed: optuna.samplers.TPESampler(seed=seed)),
    "Optuna TPE (multivariate)": _with(
        lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)
    ),
    "Optuna NSGA-II": _with(lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=20)),
    "Optuna GPSampler": _with(lambda seed: optuna.samplers.GPSampler(seed=seed), whole=True),
    "pymoo NSGA-II": pymoo_nsga2,
    "Syne Tune MO-ASHA": syne_tune_moasha,
}
