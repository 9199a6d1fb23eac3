"""What a search has come to so far: in a line, for the progress bar, and as curves, for TensorBoard."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from gatesearch._lib.format import format_si
from gatesearch._lib.plugins import need
from gatesearch.search import pareto
from gatesearch.search.engine import Trial
from gatesearch.search.evaluation import PREFERENCES, Objectives

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Watch(AbstractContextManager["Watch"]):
    """Follows a search; call it with every trial that ends.

    Args:
        past: trials of earlier sessions.
        reference: what the hypervolume is measured against, as in :meth:`SearchResult.hypervolume`.
        objective: that ranks feasible plans, ``energy``, ``latency`` or ``accuracy``.
        quality: what accuracy is called.
        logs: folder for TensorBoard, written anew by every session; None for no curves.
    """

    def __init__(
        self,
        past: Sequence[Trial] = (),
        *,
        reference: Objectives,
        objective: str = "energy",
        quality: str = "accuracy",
        logs: Path | None = None,
    ) -> None:
        self._reference, self._preference, self._quality = reference, PREFERENCES[objective], quality
        self._front: list[list[float]] = []
        self.hypervolume = 0.0
        self.best: Objectives | None = None
        self.states: dict[str, int] = {}
        self._curves = _writer(logs) if logs is not None else None
        for trial in past:
            self(trial)

    def __call__(self, trial: Trial) -> None:
        """Count a trial that ended."""
        self.states[trial.state] = self.states.get(trial.state, 0) + 1
        if trial.objectives is not None and trial.feasible:
            scaled = zip(trial.objectives.minimised, self._reference.minimised, strict=True)
            self._front.append([value / reference for value, reference in scaled])
            self._front = [self._front[i] for i in pareto.front(self._front)]
            self.hypervolume = pareto.hypervolume(self._front, (1.0, 1.0, 1.0))
            self.best = min((o for o in (self.best, trial.objectives) if o is not None), key=self._preference)
        if self._curves is not None:
            values = {} if trial.objectives is None else trial.objectives._asdict()
            counts = {state: float(count) for state, count in self.states.items()}
            for name, value in {**values, "hypervolume": self.hypervolume, **counts}.items():
                self._curves.add_scalar(f"search/{name}", value, trial.number)

    @property
    def note(self) -> str:
        """What to tell beside the count of trials.

        >>> watch = Watch(reference=Objectives(0.0, 5e3, 400.0))
        >>> watch.note
        'no plan keeps the constraints yet'
        """
        ended = [f"{self.states[s]} {told}" for s, told in _TOLD.items() if s in self.states]
        if self.best is None:
            return ", ".join([*ended, "no plan keeps the constraints yet"])
        cost = f"{format_si(self.best.energy_uj * 1e-6, 'J')}, {format_si(self.best.latency_us * 1e-6, 's')}"
        best = f"best {self._quality} {self.best.accuracy:.3f} at {cost}"
        return ", ".join([*ended, f"hypervolume {self.hypervolume:.3f}", best])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._curves is not None:
            self._curves.close()


_TOLD = {"pruned": "given up early", "priced_out": "ruled out", "duplicate": "repeats"}


def _writer(logs: Path) -> SummaryWriter:
    need("search curves in logs/", "tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    shutil.rmtree(logs, ignore_errors=True)  # the journal is what lasts; half a curve of a killed session is not
    return SummaryWriter(str(logs), flush_secs=5)
