"""The settings of a search."""

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
    """Where a search keeps its trials, when it ends, and who proposes.

    Args:
        journal: Optuna journal file, or URL of a database; optuna-dashboard opens either.
        study: name of the study.
        trials: how many plans to try; those in the journal count.
        proposals: how many to propose at most.
        seed: the seed of the proposals. A proposal depends only on the seed and on the trials before it, so that an
            interrupted search continues with the same proposals.
        initial: parameters of the first proposals; see :func:`gatesearch.search.sampler.initial.initial_params`.
        on_trial: called after every trial, which is on disk by then.
        sampler: such as :class:`gatesearch.search.sampler.GateSampler`, or a function that returns the sampler for the
            proposal of a number; None for Optuna's TPE, which knows no costs.
    """

    journal: Place
    study: str = STUDY
    trials: int
    proposals: int
    seed: int
    initial: Sequence[Mapping[str, Scalar]] = ()
    on_trial: Callable[[Trial], None] | None = None
    sampler: BaseSampler | SamplerFactory | None = None
