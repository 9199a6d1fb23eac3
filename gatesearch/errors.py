"""Errors that a user can fix: one line each, unlike bugs, which have a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MAX_MESSAGE_CHARACTERS = 2000


class UserError(Exception):
    """Something the user wrote or provided cannot be used; the message is one line that says where and what instead.

    Line breaks, and bytes that are no UTF-8, are escaped: a quoted file name may hold them.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(str(message)))


class DataError(UserError, ValueError):
    """Data that cannot be used; a ``ValueError`` too, because constructors raise it."""


def one_line(text: str) -> str:
    r"""Return text as one line that any terminal and file takes, of 2,000 characters at most.

    >>> one_line(chr(9) + "a.wav: bad") == r"\ta.wav: bad"
    True
    """
    line = "".join(c if c.isprintable() else _escape(c) for c in text[: MAX_MESSAGE_CHARACTERS + 1])
    return line if len(line) <= MAX_MESSAGE_CHARACTERS else f"{line[: MAX_MESSAGE_CHARACTERS - 4]} ..."


def _escape(character: str) -> str:
    """Return a character that cannot be printed as Python writes it in a string.

    Python reads a byte 0x80 + i of a file name that is no UTF-8 as the character 0xDC80 + i (PEP 383).
    """
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else repr(character)[1:-1]


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
