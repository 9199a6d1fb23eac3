"""Runs a search: proposes and prices plans of gates, trains the affordable ones, stores all outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import optuna

from gatesearch._lib.quiet_optuna import quiet_optuna
from gatesearch.search import storage
from gatesearch.search.evaluation import Objectives
from gatesearch.search.executors import Evaluate, Executor, InProcess
from gatesearch.search.result import SearchResult
from gatesearch.search.sampler.gate_sampler import DIRECTIONS
from gatesearch.search.session import PriceViolations, Session
from gatesearch.search.settings import SearchSettings
from gatesearch.search.space import Space
from gatesearch.search.storage import STUDY, Place
from gatesearch.search.stored_trial import read_trial, select_own


def search(
    space: Space,
    price_violations: PriceViolations,
    evaluate: Evaluate,
    settings: SearchSettings,
    executor: Executor | None = None,
) -> SearchResult:
    """Search for plans, or continue the search that the journal holds.

    Args:
        space: the space of plans.
        price_violations: a function of a plan. It returns, for each constraint on latency or memory, by how much the
            plan's price breaks the constraint; a positive number means broken.
        evaluate: a function that trains and judges a plan; used only if ``executor`` is None.
        settings: the storage and the number of trials, and the sampler that proposes plans.
        executor: the executor that tries plans, with an ``evaluate`` of its own; None: plans are tried one after the
            other, in this process.

    Raises:
        UserError: the price rules out every proposal, or another process runs a search in this study.
    """
    with open_session(space, price_violations, settings) as session:
        (executor or InProcess(evaluate)).run(session)
    return session.result()


@contextmanager
def open_session(space: Space, price_violations: PriceViolations, settings: SearchSettings) -> Iterator[Session]:
    """Yield a session that proposes plans (``ask``) and stores outcomes (``tell``); see :func:`search` for arguments.

    Until the context ends, no other process can run a search in the same study.
    """
    place = settings.journal
    with quiet_optuna(), storage.open_driven_study(place, DIRECTIONS, Objectives._fields, settings.study) as study:
        yield Session(
            space,
            price_violations,
            settings,
            store=lambda trial: storage.add_trial(study, trial, place),
            stored=select_own(storage.ended_trials(study)),
        )


def read(place: Place, study: str = STUDY) -> SearchResult:
    """Return the stored trials of a search, even while it runs; no trials where the study does not exist yet."""
    try:
        stored = optuna.load_study(study_name=study, storage=storage.open_storage(place))
    except KeyError:
        return SearchResult(())
    trials = select_own(storage.ended_trials(stored))
    return SearchResult(tuple(read_trial(number, trial) for number, trial in enumerate(trials)))
