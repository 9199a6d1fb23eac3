"""The search: proposes plans, prices them, tries those that their price allows, and keeps every outcome on disk."""

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
    """Search, or go on with the search that the journal holds.

    Args:
        space: the space of plans.
        price_violations: for each constraint that cost alone can break, by how much (positive: broken).
        evaluate: tries a plan; expensive.
        settings: where trials are kept, how many, who proposes.
        executor: where plans are tried, by the ``evaluate`` that it was made with; None: one after the other, here.

    Raises:
        UserError: cost alone rules out every proposal, or another process drives this study.
    """
    with open_session(space, price_violations, settings) as session:
        (executor or InProcess(evaluate)).run(session)
    return session.result()


@contextmanager
def open_session(space: Space, price_violations: PriceViolations, settings: SearchSettings) -> Iterator[Session]:
    """Open a search to ask and tell, as its only driver; the arguments are those of :func:`search`."""
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
    """Read the trials so far, also while a search goes on; none where no study was created yet."""
    try:
        stored = optuna.load_study(study_name=study, storage=storage.open_storage(place))
    except KeyError:
        return SearchResult(())
    trials = select_own(storage.ended_trials(stored))
    return SearchResult(tuple(read_trial(number, trial) for number, trial in enumerate(trials)))
