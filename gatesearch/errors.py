"""Errors that a user can fix: one line each, unlike bugs, which have a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user wrote or provided cannot be used; the message is one line that says where and what instead."""


def nearest(written: str, choices: Iterable[str]) -> str | None:
    """Return the choice closest to a name, or None if no choice is close.

    >>> nearest("epoch", ["epochs", "batch_size"])
    'epochs'
    """
    by_folded = {choice.casefold(): choice for choice in choices}
    matches = difflib.get_close_matches(written.casefold(), by_folded, n=1, cutoff=0.5)
    return by_folded[matches[0]] if matches else None


def unknown_name(what: str, written: str, choices: Iterable[str]) -> str:
    """Say that a name is not among the choices, and which is nearest.

    >>> unknown_name("device", "tree_core", ["three_core", "host"])
    "unknown device 'tree_core'; nearest: 'three_core' (choices: three_core, host)"
    """
    choices = list(choices)
    close, listed = nearest(written, choices), f"choices: {', '.join(choices) or 'none'}"
    return f"unknown {what} {written!r}; " + (f"nearest: {close!r} ({listed})" if close else listed)


def unknown(where: str, what: str, written: str, choices: Iterable[str]) -> UserError:
    """Build the error for a name that is not among the choices; see :func:`unknown_name`.

    >>> str(unknown("kws.yaml: device", "device", "tree_core", ["three_core", "host"]))
    "kws.yaml: device: unknown device 'tree_core'; nearest: 'three_core' (choices: three_core, host)"
    """
    return UserError(f"{where}: {unknown_name(what, written, choices)}")
