"""Where finished trials are kept: a journal file or a database that Optuna opens, written by one driver at a time.

A search keeps its study in memory and adds each trial here once, when it has ended: one append of one line (or one
transaction), whole or not at all, in place of an entry for every parameter and attribute.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from gatesearch.errors import UserError

STUDY = "gatesearch"
LOCK_SECONDS = 5  # a lock that is older was left by a process that is gone: entries take milliseconds
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)

Where = Path | str  # a journal file, or the URL of a database


class Journal(JournalFileBackend):
    """A journal that a full disk leaves as it was: what could not be written whole is taken back.

    An entry is with the operating system when :meth:`append_logs` returns, so that a killed process loses none. Whoever
    drives a study pushes entries to the disk beside the next trial, which takes milliseconds: as long it takes for an
    entry to survive a power cut.

    Args:
        path: of the file.
        beside: whether the disk is waited for beside all else, until :meth:`settle`; else in :meth:`append_logs`.
    """

    def __init__(self, path: Path, beside: bool = False) -> None:
        # Absolute, because the lock is a symbolic link to it, and one that leads nowhere is waited for without end.
        self._path = path.absolute()
        self._own_lock = JournalFileSymlinkLock(str(self._path), grace_period=LOCK_SECONDS)
        super().__init__(str(self._path), self._own_lock)
        self._disk = ThreadPoolExecutor(1, "journal") if beside else None
        self._pushes: deque[Future[None]] = deque()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append entries, all or none.

        Raises:
            OSError: the disk is full; names the file.
        """
        text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        try:
            self._own_lock.acquire()
            try:
                with self._path.open("ab", buffering=0) as file:
                    rest = text.encode()
                    while rest:  # one system call, but where the disk fills up
                        rest = rest[file.write(rest) :]
            finally:
                self._own_lock.release()
            self._push()
        except OSError as error:
            mend(self._path)
            raise OSError(error.errno, error.strerror, str(self._path)) from error

    def settle(self) -> None:
        """Wait until all that was appended is on the disk."""
        if self._disk is not None:
            self._disk.shutdown()
        while self._pushes:
            self._pushes.popleft().result()

    def _push(self) -> None:
        if self._disk is None:
            _push(self._path)
            return
        while self._pushes and self._pushes[0].done():
            self._pushes.popleft().result()
        if len(self._pushes) < 2:  # one at work, and one that will push whatever is written before it begins
            self._pushes.append(self._disk.submit(_push, self._path))


def _push(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def opened(where: Where, backend: Journal | None = None) -> BaseStorage:
    """Open a journal or a database, as Optuna and its dashboard do.

    Args:
        where: journal file, or URL of a database.
        backend: of the journal, where there is one already.

    Raises:
        UserError: the journal holds what is no entry, the database cannot be reached or has no driver here.
    """
    if isinstance(where, str):
        return _database(where)
    try:
        return JournalStorage(backend or Journal(where))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{where}: {_broken_line(where)}: no entry of an Optuna journal") from error


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that ended, in the order in which they did."""
    return study.get_trials(deepcopy=False, states=FINISHED)


@contextmanager
def driven(
    where: Where, directions: Sequence[StudyDirection], metrics: Sequence[str], name: str = STUDY
) -> Iterator[optuna.Study]:
    """Hold a study as its only driver, made where it is not there yet.

    The claim ends with the process, however it ends.

    Args:
        where: journal file, or URL of a database.
        directions: of the objectives.
        metrics: names of the objectives.
        name: of the study.

    Raises:
        UserError: another driver has it, or it cannot be opened.
    """
    with _claim(where, name), ExitStack() as stack:
        backend = None
        if not isinstance(where, str):
            mend(where)
            backend = Journal(where, beside=True)
            stack.callback(backend.settle)
        storage = opened(where, backend)
        with reaching(where):
            study = optuna.create_study(
                study_name=name, storage=storage, directions=list(directions), load_if_exists=True
            )
            if study.metric_names is None:
                with experimental():
                    study.set_metric_names(list(metrics))
        yield study


def add(study: optuna.Study, trial: FrozenTrial, where: Where) -> None:
    """Add a finished trial; once this returns, it is on disk."""
    with reaching(where):
        study.add_trial(trial)


def note(study: optuna.Study, name: str, value: object, where: Where) -> None:
    """Keep a value of the study's, in place of an earlier one; once this returns, it is on disk."""
    with reaching(where):
        study.set_user_attr(name, value)


@contextmanager
def experimental() -> Iterator[None]:
    """Keep Optuna from telling the user of gatesearch which of Optuna's parts are new."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def mend(journal: Path) -> None:
    """Drop half an entry that a full disk or a killed process left: the next must not be glued to it."""
    if journal.exists():
        with journal.open("rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


@contextmanager
def reaching(where: Where) -> Iterator[None]:
    """Tell in one line what a database has against us.

    Raises:
        UserError: it cannot be reached, or refuses.
    """
    if not isinstance(where, str):
        yield
        return
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except ImportError as error:
        raise UserError(
            f"storage={shown(where)}: no driver for it is installed; pip install 'gatesearch[postgresql]'"
        ) from error
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = str(error.__cause__ or error).strip().splitlines()[0]
        raise UserError(f"storage={shown(where)}: {cause}") from error


def shown(where: Where) -> str:
    """Return the place without a password.

    >>> shown("postgresql://me:secret@host/db")
    'postgresql://me:***@host/db'
    """
    if not isinstance(where, str):
        return str(where)
    from sqlalchemy.engine import make_url

    return make_url(where).render_as_string(hide_password=True)


def _database(url: str) -> BaseStorage:
    with reaching(url):  # a connection that a long trial let go stale is opened anew
        return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})


def _claim(where: Where, name: str) -> AbstractContextManager[None]:
    return _claim_on_database(where, name) if isinstance(where, str) else _claim_on_file(where, str(where))


@contextmanager
def _claim_on_file(path: Path, what: str) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(_held(what)) from None
        except OSError as error:
            raise UserError(f"{what}: this file system knows no locks ({error.strerror}); take a database") from None
        yield


@contextmanager
def _claim_on_database(url: str, name: str) -> Iterator[None]:
    from sqlalchemy.engine import make_url

    parts, what = make_url(url), f"storage={shown(url)}, study {name}"
    if parts.get_backend_name() == "sqlite":
        with _claim_on_file(Path(f"{parts.database}.{name}.driver"), what):
            yield
        return
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    with reaching(url):
        connection = create_engine(url, poolclass=NullPool).connect()
    with connection:
        with reaching(url):  # held by the connection, which the server ends with the process
            granted = connection.execute(text("SELECT pg_try_advisory_lock(hashtext(:name))"), {"name": name}).scalar()
            connection.commit()
        if not granted:
            raise UserError(_held(what))
        try:
            yield
        finally:
            with contextlib.suppress(SQLAlchemyError):  # gone with its server: so is the claim
                connection.execute(text("SELECT pg_advisory_unlock(hashtext(:name))"), {"name": name})


def _held(what: str) -> str:
    return f"{what}: another process is searching here; let it end, or stop it: nothing is lost"


def _broken_line(journal: Path) -> str:
    for number, line in enumerate(journal.read_bytes().splitlines(), 1):
        try:
            entry = json.loads(line)
        except ValueError:
            return f"line {number}"
        if not isinstance(entry, dict) or "op_code" not in entry:
            return f"line {number}"
    return "no study"
