"""Counts the trainings of a run, and interrupts one of them."""

from __future__ import annotations

from typing import Any

import pytest

from gatesearch.pipeline import training


class Trainings:
    """Counts the trainings that start after this object is made.

    Args:
        patch: pytest's monkeypatch, which restores the training function afterwards.
        at: number of the training that raises an exception, counted from 1; 0 for no training.
        trouble: the exception that this training raises; None for a KeyboardInterrupt.
    """

    def __init__(self, patch: pytest.MonkeyPatch, at: int = 0, trouble: BaseException | None = None) -> None:
        self.count, fit = 0, training.fit

        def counted(*args: Any, **settings: Any) -> Any:
            self.count += 1
            if self.count == at:
                raise trouble or KeyboardInterrupt
            return fit(*args, **settings)

        patch.setattr(training, "fit", counted)
