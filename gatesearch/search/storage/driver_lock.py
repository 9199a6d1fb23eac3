"""The lock that lets only one process at a time drive a study; it is held on a file or in a database."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from gatesearch._lib.locks import lock
from gatesearch.errors import UserError
from gatesearch.search.storage.database import report_database_errors
from gatesearch.search.storage.place import Place, show_place


def lock_study(place: Place, name: str) -> AbstractContextManager[None]:
    """Lock a study against other drivers, until the end of the context or of the process.

    Raises:
        UserError: another process drives the study.
    """
    return _lock_in_database(place, name) if isinstance(place, str) else _lock_file(place, str(place))


@contextmanager
def _lock_file(path: Path, label: str) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = path.open("ab")
    except OSError as error:
        raise UserError(f"{label}: cannot be opened: {error.strerror or error}") from None
    with opened as file:
        lock(file, label, lambda: _refusal(label))
        yield


@contextmanager
def _lock_in_database(url: str, name: str) -> Iterator[None]:
    """Hold the lock of a study in a database: an advisory lock, or a file beside an SQLite database."""
    from sqlalchemy.engine import make_url

    # PostgreSQL has advisory locks. SQLite has none, so a file beside its database holds the lock.
    parts, label = make_url(url), f"storage={show_place(url)}, study {name}"
    if parts.get_backend_name() == "sqlite":
        with _lock_file(Path(f"{parts.database}.{name}.driver"), label):
            yield
        return
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    with report_database_errors(url):
        connection = create_engine(url, poolclass=NullPool).connect()
    with connection:
        with report_database_errors(url):  # the server frees the lock when the connection or this process ends
            locked = connection.execute(text("SELECT pg_try_advisory_lock(hashtext(:name))"), {"name": name}).scalar()
            connection.commit()
        if not locked:
            raise UserError(_refusal(label))
        try:
            yield
        finally:
            with contextlib.suppress(SQLAlchemyError):  # if the server has stopped, the lock is free already
                connection.execute(text("SELECT pg_advisory_unlock(hashtext(:name))"), {"name": name})


def _refusal(label: str) -> str:
    return f"{label}: another process is searching here; let it end, or stop it: nothing is lost"
