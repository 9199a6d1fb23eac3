"""The part of optuna.Trial that the search space uses, and a class that replays recorded parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gatesearch.plan import Scalar


class CategoricalTrial(Protocol):
    """The part of ``optuna.Trial`` that the search space uses."""

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        """Return one of the choices."""


class ReplayTrial:
    """Replays recorded parameters as a trial, and records the choices that the space asks for.

    There are two reasons not to use ``optuna.trial.FixedTrial``. The space works without Optuna. And FixedTrial raises
    ValueError for a missing parameter, as for many other mistakes. The space has to recognise parameters of another
    space among these errors, so this class raises KeyError for them.

    Args:
        params: values by parameter name.

    Attributes:
        choices: for each parameter that the space has asked for, by name, its choices.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params
        self.choices: dict[str, tuple[Scalar, ...]] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        """Return the recorded value of a parameter.

        Raises:
            KeyError: the parameter is not recorded, or its value is not among the choices.
        """
        value: Scalar = self._params[name]
        if value not in choices:
            raise KeyError(name)
        self.choices[name] = tuple(choices)
        return value
