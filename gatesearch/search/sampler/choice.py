"""Builds the sampler of a search, and keeps Optuna's samplers from proposing a plan twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from random import Random

from optuna.samplers import BaseSampler, NSGAIISampler, PartialFixedSampler, RandomSampler, TPESampler

from gatesearch.plan import GatePlan, Scalar
from gatesearch.search.sampler.neighbours import Candidates
from gatesearch.search.space import Space
from gatesearch.search.storage import ignore_experimental_warnings

SamplerFactory = Callable[[int], BaseSampler]  # returns the sampler for a proposal, by the number of the proposal
MAX_DRAWS = 10_000  # largest number of random plans that are drawn to find an untried one
OPTUNA_SAMPLERS: Mapping[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=12),
    "nsga2": lambda seed: NSGAIISampler(seed=seed, population_size=20),
    "random": lambda seed: RandomSampler(seed=seed),
}


def build_optuna_sampler(name: str, seed: int) -> SamplerFactory:
    """Return a factory for one of :data:`OPTUNA_SAMPLERS`.

    Each proposal has a sampler with a seed of its own, because a study does not store the state of a random generator.
    So a proposal depends only on the seed, its number and the trials before it.
    """

    def sampler(number: int) -> BaseSampler:
        with ignore_experimental_warnings():
            return OPTUNA_SAMPLERS[name](hash((seed, number)) % 2**32)

    return sampler


def choose_sampler(sampler: BaseSampler | SamplerFactory | None, seed: int) -> SamplerFactory:
    """Return a factory of samplers.

    A factory is returned as it is. For a sampler, the result is a factory that always returns this sampler. None stands
    for Optuna's TPE.
    """
    if sampler is None:
        return build_optuna_sampler("tpe", seed)
    if isinstance(sampler, BaseSampler):
        return lambda number: sampler
    return sampler


def fix_params(params: Mapping[str, Scalar], sampler: BaseSampler) -> BaseSampler:
    """Return a sampler that fixes the values of some parameters and asks ``sampler`` for the others."""
    with ignore_experimental_warnings():
        return PartialFixedSampler(dict(params), sampler)


def avoid_repeats(sampler: BaseSampler, space: Space, tried: Set[GatePlan], seed: int, number: int) -> BaseSampler:
    """Return a sampler that proposes a random untried plan, or ``sampler`` itself if every drawn plan was tried.

    At the end of a search in a small space few plans are untried, and Optuna's samplers rarely propose them.
    """
    generator = Random(hash((seed, number)))
    for gates in Candidates(space).draw_evenly(MAX_DRAWS, generator):
        plan = generator.choice(space.plans_for(gates))
        if plan not in tried:
            return fix_params(space.describe(plan), sampler)
    return sampler
