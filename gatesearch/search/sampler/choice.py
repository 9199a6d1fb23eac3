"""Which sampler a search asks: ours, or one of Optuna's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from random import Random

from optuna.samplers import BaseSampler, NSGAIISampler, PartialFixedSampler, RandomSampler, TPESampler

from gatesearch.plan import GatePlan, Scalar
from gatesearch.search.sampler.neighbours import Candidates, cores_of
from gatesearch.search.space import Space
from gatesearch.search.storage import experimental

Chosen = Callable[[int], BaseSampler]  # by the number of the proposal
DRAWS = 10_000
# Seeded anew for each proposal: the state of a random generator is not in the journal.
OPTUNA: Mapping[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=12),
    "nsga2": lambda seed: NSGAIISampler(seed=seed, population_size=20),
    "random": lambda seed: RandomSampler(seed=seed),
}


def build(name: str, seed: int) -> Chosen:
    """Return one of :data:`OPTUNA`, so that a proposal depends on the seed, its number and the trials before it."""

    def sampler(number: int) -> BaseSampler:
        with experimental():
            return OPTUNA[name](hash((seed, number)) % 2**32)

    return sampler


def fixed(choices: Mapping[str, Scalar], sampler: BaseSampler) -> BaseSampler:
    """Return a sampler of which some choices are made already."""
    with experimental():
        return PartialFixedSampler(dict(choices), sampler)


def elsewhere(sampler: BaseSampler, space: Space, tried: Set[GatePlan], seed: int, number: int) -> BaseSampler:
    """Return a sampler that proposes a plan not tried yet: a small space holds few, which are seldom met by chance."""
    generator = Random(hash((seed, number)))
    for gates in Candidates(space).evenly(DRAWS, generator):
        plan = GatePlan(gates, generator.choice(cores_of(space, gates)))
        if plan not in tried:
            return fixed(space.named(plan), sampler)
    return sampler
