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
    """A trial that replays recorded parameters, and records the choices that the space offers for them.

    ``optuna.trial.FixedTrial`` is not used for two reasons. The space works without Optuna. And FixedTrial raises
    ValueError for a missing parameter, but also for other mistakes. The space must recognise parameters of another
    space. This class raises KeyError for such parameters alone.

    Args:
        params: values by parameter name.

    Attributes:
        choices: the choices of each parameter that the space has asked for, by name.
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
