"""The settings of a search: the storage and the number of its trials, and the sampler that proposes plans."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from optuna.samplers import BaseSampler

from gatesearch.plan import Scalar
from gatesearch.search.result import Trial
from gatesearch.search.sampler.choice import SamplerFactory
from gatesearch.search.storage import STUDY, Place


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """The settings of a search: the storage of its trials, its limits and its sampler.

    Args:
        journal: Optuna journal file, or URL of a database; optuna-dashboard opens either.
        study: name of the study.
        trials: number of plans to train, those in the journal included.
        proposals: largest number of plans to propose; plans that are priced out or repeated count, too.
        seed: the seed of the proposals. A proposal depends only on the seed and on the trials before it, so that an
            interrupted search continues with the same proposals.
        initial: parameters of the first proposals; see :func:`gatesearch.search.sampler.initial.initial_params`.
        on_trial: a function that is called with every trial that ends, after the trial is on disk.
        sampler: an Optuna sampler, such as :class:`gatesearch.search.sampler.GateSampler`; or a function that returns
            the sampler for a proposal, by the proposal's number; None: Optuna's TPE, which does not use costs.
    """

    journal: Place
    study: str = STUDY
    trials: int
    proposals: int
    seed: int
    initial: Sequence[Mapping[str, Scalar]] = ()
    on_trial: Callable[[Trial], None] | None = None
    sampler: BaseSampler | SamplerFactory | None = None
