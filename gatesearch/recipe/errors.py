"""Errors about recipes: the one-line error for the user, and the error that the validators of a schema raise."""

from __future__ import annotations

from typing import NoReturn

from pydantic_core import PydanticCustomError

from gatesearch.errors import UserError, quote, unknown

INVALID = "invalid"
"""The type of pydantic error that :func:`invalid` builds."""


def fail(where: str, message: str) -> NoReturn:
    """Raise the :class:`UserError` ``where: message``; line breaks in either text become spaces."""
    raise UserError(" ".join(f"{where}: {message}".split()))


def write_key(name: object) -> str:
    """Return a key as messages show it; in YAML and in programs a key need not be text.

    >>> write_key("seed"), write_key(None), write_key(10**5000)
    ('seed', 'None', 'a number of 16610 bits')
    """
    return name if isinstance(name, str) else quote(name)


def invalid(message: str, *keys: str) -> PydanticCustomError:
    """Build the error that a schema's validator raises.

    Args:
        message: what is wrong.
        keys: dotted names of the keys that the error is about, relative to the validated model. Without keys, the error
            is about the validated value itself.
    """
    return PydanticCustomError(INVALID, "{message}", {"message": message, "keys": keys})


def describe_unknown(what: str, written: str, choices: list[str] | tuple[str, ...]) -> str:
    """Return the message about a name that is not among the choices; it does not say where the name stands.

    >>> describe_unknown("sampler", "gates", ["gate", "tpe"])
    "unknown sampler 'gates'; nearest: 'gate' (choices: gate, tpe)"
    """
    return str(unknown("", what, written, choices)).removeprefix(": ")
