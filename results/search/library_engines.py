"""Search engines of other libraries (extra ``bench``): pymoo's NSGA-II and Syne Tune's MO-ASHA."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from gatesearch.plan import GatePlan, Scalar
from gatesearch.search.space import Space
from results.search.replay import Budget, Replay

Array = npt.NDArray[Any]
NEEDS: Mapping[str, str] = {"pymoo NSGA-II": "pymoo", "Syne Tune MO-ASHA": "syne_tune"}
NAME_DRAWS = 2000  # number of random proposals from which the names of a space's parameters are collected
POPULATION = 20


def missing(engine: str) -> bool:
    """Return whether an engine needs a library that is not installed."""
    return engine in NEEDS and importlib.util.find_spec(NEEDS[engine]) is None


def pymoo_nsga2(replay: Replay, seed: int) -> None:
    """Replay pymoo's NSGA-II; a plan is a vector of whole numbers, one for each parameter of the space."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.evaluator import Evaluator
    from pymoo.core.problem import Problem
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.sampling.rnd import IntegerRandomSampling
    from pymoo.problems.static import StaticProblem

    table, names = replay.table, suggested_names(replay.table.space)
    most = np.array([len(choices) - 1 for choices in names.values()])
    problem = Problem(n_var=len(names), n_obj=3, n_ieq_constr=1, xl=np.zeros(len(names)), xu=most, vtype=int)
    algorithm = NSGA2(
        pop_size=POPULATION,
        sampling=IntegerRandomSampling(),
        crossover=SBX(vtype=float, repair=RoundingRepair()),
        mutation=PM(vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    algorithm.setup(problem, termination=("n_gen", 10**6), seed=seed, verbose=False)
    try:
        while True:
            offspring = replay.timed(algorithm.ask)
            numbers = [replay.ask(_plan(table.space, names, row)) for row in np.asarray(offspring.get("X"), dtype=int)]
            # A plan that the device cannot run gets an error of 1 and the largest costs of the table.
            points = [(1.0, *map(float, table.costs[:, -1].max(0))) if i is None else table.point(i) for i in numbers]
            over = [[1.0 if i is None else replay.excess(i)] for i in numbers]
            Evaluator().eval(StaticProblem(problem, F=np.array(points), G=np.array(over)), offspring)
            algorithm.tell(infills=offspring)
    except Budget:
        return


def syne_tune_moasha(replay: Replay, seed: int) -> None:
    """Replay Syne Tune's MO-ASHA with one worker.

    MO-ASHA trains random plans. After certain numbers of epochs, the rungs, it compares a training with the others, and
    stops the training if it ranks low.
    """
    from syne_tune.backend.trial_status import Trial
    from syne_tune.config_space import choice
    from syne_tune.optimizer.scheduler import SchedulerDecision
    from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA
    from syne_tune.optimizer.schedulers.multiobjective.multiobjective_priority import MOPriority

    class Ranks(MOPriority):
        def priority_unsafe(self, objectives: Array) -> Array:
            return ranks(objectives)

    random.seed(seed)
    np.random.seed(seed)  # MO-ASHA's rungs draw from NumPy's global generator
    table, names = replay.table, suggested_names(replay.table.space)
    space = {name: choice(list(range(len(choices)))) for name, choices in names.items()}
    metrics = ["error", "latency", "energy"]
    scheduler = MOASHA(
        space,
        metrics,
        time_attr="epoch",
        multiobjective_priority=Ranks(),
        max_t=table.epochs,
        grace_period=1,
        reduction_factor=3,
        random_seed=seed,
    )
    number = 0
    try:
        while True:
            config = replay.timed(scheduler.suggest).config
            trial, number = Trial(number, config, datetime(2026, 1, 1)), number + 1
            plan = _plan(table.space, names, [config[name] for name in names])
            scheduler.on_trial_add(trial)
            for epoch in table.at:
                at = replay.ask(plan, epoch)
                if at is None:
                    break
                result = dict(zip(metrics, table.point(at, epoch), strict=True)) | {"epoch": epoch}
                if epoch == table.epochs:
                    scheduler.on_trial_complete(trial, result)
                elif scheduler.on_trial_result(trial, result) == SchedulerDecision.STOP:
                    break
    except Budget:
        return


def ranks(objectives: Array) -> Array:
    """Return the rank [n] of each point [n, objectives] in Syne Tune's non-dominated sort; equal points share a rank.

    ``NonDominatedPriority`` of Syne Tune 0.16 returns sorted indices in place of ranks. With sorted indices, the age of
    a training would decide whether the training continues.
    """
    distinct, inverse, counts = np.unique(objectives, axis=0, return_inverse=True, return_counts=True)
    order = _order(distinct.tobytes(), distinct.shape[1])
    before = np.zeros(len(order), dtype=np.intp)
    before[order] = np.cumsum(counts[order]) - counts[order]
    tied: Array = before[inverse]
    return tied


@lru_cache(maxsize=16)  # most calls repeat the points of an earlier call; each of the few rungs has points of its own
def _order(points: bytes, objectives: int) -> Array:
    from syne_tune.optimizer.schedulers.multiobjective.non_dominated_priority import nondominated_sort

    return np.array(nondominated_sort(np.frombuffer(points).reshape(-1, objectives), dim=0))


def suggested_names(space: Space) -> dict[str, Sequence[Scalar]]:
    """Return the choices of every parameter of a space, by the name of the parameter."""
    recorder = _NameRecorder(random.Random(0))
    for _ in range(NAME_DRAWS):
        space.propose(recorder)
    return dict(sorted(recorder.names.items()))


class _NameRecorder:
    """A trial that draws at random, and records the choices of each parameter."""

    def __init__(self, generator: random.Random) -> None:
        self.names: dict[str, Sequence[Scalar]] = {}
        self._generator = generator

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        self.names[name] = choices
        return self._generator.choice(choices)


class _CodedTrial:
    """A trial that takes each suggestion from a vector of indices into the choices."""

    def __init__(self, names: Mapping[str, Sequence[Scalar]], code: Sequence[int]) -> None:
        self._code: dict[str, Any] = dict(zip(names, code, strict=True))

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        return choices[int(self._code[name])]


def _plan(space: Space, names: Mapping[str, Sequence[Scalar]], code: Sequence[int]) -> GatePlan:
    return space.propose(_CodedTrial(names, code))
