"""The storage of a study, a journal file or a database, and its name in messages."""

from __future__ import annotations

from pathlib import Path

Place = Path | str  # a journal file, or the URL of a database


def show_place(place: Place) -> str:
    """Return the path of a journal, or the URL of a database with its password hidden.

    >>> show_place("postgresql://me:secret@host/db")
    'postgresql://me:***@host/db'
    """
    if not isinstance(place, str):
        return str(place)
    from sqlalchemy.engine import make_url

    return make_url(place).render_as_string(hide_password=True)
