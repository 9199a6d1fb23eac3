"""Stores ended trials in a journal file or a database, with one driver (process that searches) at a time.

A search holds its study in memory and stores each trial once, when the trial ends. A trial is one line of the journal,
or one transaction of the database. It is stored whole or not at all. Optuna alone would store an entry for every
parameter and attribute.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from gatesearch.errors import UserError
from gatesearch.search.storage.database import open_database, report_database_errors
from gatesearch.search.storage.driver_lock import lock_study
from gatesearch.search.storage.journal import Journal, find_broken_line, repair_last_line
from gatesearch.search.storage.place import Place

STUDY = "gatesearch"  # default name of a study
ENDED_STATES = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

__all__ = [
    "STUDY",
    "Place",
    "add_trial",
    "ended_trials",
    "ignore_experimental_warnings",
    "open_driven_study",
    "open_storage",
]


def open_storage(place: Place, journal: Journal | None = None) -> BaseStorage:
    """Open a journal or a database, as Optuna and its dashboard do.

    Args:
        place: journal file, or URL of a database.
        journal: the journal of that file, if it is open already; None: this function opens it.

    Raises:
        UserError: a line of the journal is no entry, or the database cannot be reached, or no driver for it is
            installed.
    """
    if isinstance(place, str):
        return open_database(place)
    try:
        # Optuna skips a broken last line, but cannot open a journal in which another entry follows a broken line.
        broken = find_broken_line(place)
        if broken is not None:
            raise ValueError(broken)
        return JournalStorage(journal or Journal(place))
    except OSError as error:
        raise UserError(f"{place}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # for a damaged entry, Optuna may raise an error of any type
        raise UserError(
            f"{place}: {broken or 'no study'}: no entry of an Optuna journal; delete the line (its trial is then "
            f"tried again), or delete the file (the search then starts again)"
        ) from error


@contextmanager
def open_driven_study(
    place: Place, directions: Sequence[StudyDirection], metrics: Sequence[str], name: str = STUDY
) -> Iterator[optuna.Study]:
    """Open a study, or create it, and lock it so that no other process drives it.

    The lock ends with the context or with the process, even if the process is killed.

    Args:
        place: journal file, or URL of a database.
        directions: the directions of the objectives.
        metrics: names of the objectives.
        name: the name of the study.

    Raises:
        UserError: another process drives the study, or the study cannot be opened.
    """
    with lock_study(place, name), ExitStack() as stack:
        journal = None
        if not isinstance(place, str):
            repair_last_line(place)
            journal = Journal(place, in_background=True)
            stack.callback(journal.flush)
        storage = open_storage(place, journal)
        with report_database_errors(place):
            study = optuna.create_study(
                study_name=name, storage=storage, directions=list(directions), load_if_exists=True
            )
            if study.metric_names is None:
                with ignore_experimental_warnings():
                    study.set_metric_names(list(metrics))
        yield study


def add_trial(study: optuna.Study, trial: FrozenTrial, place: Place) -> None:
    """Add a trial that ended; after this call, the trial is safe even when the process is killed."""
    with report_database_errors(place):
        study.add_trial(trial)


def ended_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that ended, in the order in which they ended."""
    return study.get_trials(deepcopy=False, states=ENDED_STATES)


@contextmanager
def ignore_experimental_warnings() -> Iterator[None]:
    """Hide Optuna's warnings about its experimental functions, which a user of gatesearch does not call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
