"""The part of optuna.Trial that the search space uses, and a replay of recorded parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gatesearch.plan import Scalar


class CategoricalTrial(Protocol):
    """The part of ``optuna.Trial`` that the search space uses."""

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        """Return one of the choices."""


class ReplayTrial:
    """Replays given parameters as a trial and records the choices asked for.

    ``optuna.trial.FixedTrial`` would bring Optuna into the space, which works without it. It also raises ValueError for
    a missing parameter, like many other mistakes. Parameters of another space must be told apart from those, so this
    class raises KeyError.

    Args:
        params: values by parameter name.

    Attributes:
        choices: the choices of each parameter that the space has asked for, by its name.
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
