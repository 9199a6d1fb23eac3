"""What the space needs of an Optuna trial, and a trial whose parameters are known already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gatesearch.plan import Scalar


class Suggest(Protocol):
    """What the space needs of an ``optuna.Trial``."""

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        """Return one of the choices."""


class RecordedTrial:
    """Stands in for a trial that has chosen, and notes among what.

    ``choices`` maps each parameter that was asked for to its choices.

    Args:
        params: values by parameter name.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params
        self.choices: dict[str, tuple[Scalar, ...]] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        """Return the value of a parameter.

        Raises:
            KeyError: the trial has no such parameter, or a value that is no choice.
        """
        value: Scalar = self._params[name]
        if value not in choices:
            raise KeyError(name)
        self.choices[name] = tuple(choices)
        return value
