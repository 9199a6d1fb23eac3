"""What a space needs of an Optuna trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gatesearch.plan import Scalar


class Suggest(Protocol):
    """What the space needs of an ``optuna.Trial``."""

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        """Return one of the choices."""
