"""Opens the database of a study with Optuna, and reports errors of the database in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from optuna.storages import BaseStorage, RDBStorage

from gatesearch.errors import UserError, first_line
from gatesearch.search.storage.place import Place, show_place


def open_database(url: str) -> BaseStorage:
    """Open a database.

    Raises:
        UserError: the database cannot be reached, or no driver for it is installed.
    """
    with report_database_errors(url):
        # A server may close a connection that is idle during a long trial. So SQLAlchemy tests the connection before
        # each use.
        return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})


@contextmanager
def report_database_errors(place: Place) -> Iterator[None]:
    """Replace errors of a database by a UserError of one line; errors of a journal stay as they are.

    Raises:
        UserError: the database cannot be reached, or it refuses a request.
    """
    if not isinstance(place, str):
        yield
        return
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except ImportError as error:
        raise UserError(
            f"storage={show_place(place)}: no driver for it is installed; pip install 'gatesearch[postgresql]'"
        ) from error
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = first_line(error.__cause__ or error)
        raise UserError(f"storage={show_place(place)}: {cause}") from error
