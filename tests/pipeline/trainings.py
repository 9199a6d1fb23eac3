"""Counts the trainings of a run, and interrupts one of them."""

from __future__ import annotations

from typing import Any

import pytest

from gatesearch.pipeline import training


class Trainings:
    """Counts what is trained from now on.

    Args:
        patch: that puts it back.
        at: which training raises, from one; at 0 none does.
        trouble: what it raises; None for an interrupt.
    """

    def __init__(self, patch: pytest.MonkeyPatch, at: int = 0, trouble: BaseException | None = None) -> None:
        self.count, fit = 0, training.fit

        def counted(*args: Any, **settings: Any) -> Any:
            self.count += 1
            if self.count == at:
                raise trouble or KeyboardInterrupt
            return fit(*args, **settings)

        patch.setattr(training, "fit", counted)
