"""Errors that a user can fix; each prints one line without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MAX_MESSAGE_CHARACTERS = 2000
MAX_QUOTE_CHARACTERS = 60


class UserError(Exception):
    """An error in the user's input; its one-line message names the input and says what to write instead.

    Line breaks, and bytes of file names that are not UTF-8, are escaped in the message.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(str(message)))


class DataError(UserError, ValueError):
    """An error in a data set; constructors raise it, so it is also a ``ValueError``."""


def one_line(text: str) -> str:
    r"""Return text as one line of at most 2,000 printable characters; other characters are escaped.

    >>> one_line(chr(9) + "a.wav: bad") == r"\ta.wav: bad"
    True
    """
    line = "".join(c if c.isprintable() else _escape(c) for c in text[: MAX_MESSAGE_CHARACTERS + 1])
    return line if len(line) <= MAX_MESSAGE_CHARACTERS else f"{line[: MAX_MESSAGE_CHARACTERS - 4]} ..."


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's text, or the name of its class if it has no text.

    >>> first_line(ValueError("no digit\\nin line 2")), first_line(KeyError())
    ('no digit', 'KeyError')
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def quote(value: object) -> str:
    """Return a short text that stands for a value in a message; no value makes this function raise an error.

    >>> quote("host"), quote(10**5000), quote([0] * 100)[-4:]
    ("'host'", 'a number of 16610 bits', ',...')
    """
    try:
        text = repr(value)
    except Exception:  # the object's own repr may fail, and Python's repr refuses integers of more than 4,300 digits
        return f"a number of {value.bit_length()} bits" if isinstance(value, int) else f"a {type(value).__name__}"
    return text if len(text) <= MAX_QUOTE_CHARACTERS else f"{text[: MAX_QUOTE_CHARACTERS - 3]}..."


def _escape(character: str) -> str:
    """Return the escape sequence of a character that cannot be printed, as in a Python string.

    In a file name that is not UTF-8, Python reads the byte 0x80 + i as the character 0xDC80 + i (PEP 383).
    """
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else repr(character)[1:-1]


def nearest(written: str, choices: Iterable[str]) -> str | None:
    """Return the choice closest to a name, or None if no choice is close.

    >>> nearest("epoch", ["epochs", "batch_size"])
    'epochs'
    """
    by_lower_case = {choice.casefold(): choice for choice in choices}
    matches = difflib.get_close_matches(written.casefold(), by_lower_case, n=1, cutoff=0.5)
    return by_lower_case[matches[0]] if matches else None


def unknown_name(what: str, written: str, choices: Iterable[str]) -> str:
    """Return a text that says that a name is not among the choices, and which choice is nearest.

    >>> unknown_name("device", "tree_core", ["three_core", "host"])
    "unknown device 'tree_core'; nearest: 'three_core' (choices: three_core, host)"
    """
    choices = list(choices)
    close, all_choices = nearest(written, choices), f"choices: {', '.join(choices) or 'none'}"
    return f"unknown {what} {written!r}; " + (f"nearest: {close!r} ({all_choices})" if close else all_choices)


def unknown(where: str, what: str, written: str, choices: Iterable[str]) -> UserError:
    """Build the error for a name that is not among the choices; see :func:`unknown_name`.

    >>> str(unknown("kws.yaml: device", "device", "tree_core", ["three_core", "host"]))
    "kws.yaml: device: unknown device 'tree_core'; nearest: 'three_core' (choices: three_core, host)"
    """
    return UserError(f"{where}: {unknown_name(what, written, choices)}")
