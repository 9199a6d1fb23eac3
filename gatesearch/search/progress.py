"""The progress of a search: one line for the progress bar, and curves for TensorBoard."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from gatesearch._lib.format import format_si
from gatesearch._lib.plugins import need
from gatesearch.search.evaluation import PREFERENCES, Objectives
from gatesearch.search.result import GrowingVolume, Trial

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

STATE_LABELS = {"pruned": "pruned", "priced_out": "priced out", "duplicate": "duplicate", "failed": "failed"}


class ProgressMonitor(AbstractContextManager["ProgressMonitor"]):
    """Counts the trials of a search, and follows its best plan and its hypervolume.

    The monitor is called with every trial that ends.

    Args:
        past: trials of earlier sessions.
        reference: the corner up to which the hypervolume counts; each objective is divided by its value at the corner.
        objective: the objective that decides which feasible plan is the best: ``energy``, ``latency`` or ``accuracy``.
        quality: name of the quality measure, for the progress line.
        logs: folder of the TensorBoard files, which every session writes anew; None: no curves.
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
        self._preference, self._quality = PREFERENCES[objective], quality
        self._volume = GrowingVolume(reference)
        self.best: Objectives | None = None
        self.states: dict[str, int] = {}
        self._curves = _writer(logs) if logs is not None else None
        for trial in past:
            self(trial)

    def __call__(self, trial: Trial) -> None:
        """Count a trial that ended."""
        self.states[trial.state] = self.states.get(trial.state, 0) + 1
        if trial.objectives is not None and trial.feasible:
            self._volume.add(trial.objectives)
            self.best = min((o for o in (self.best, trial.objectives) if o is not None), key=self._preference)
        if self._curves is not None:
            values = {} if trial.objectives is None else trial.objectives._asdict()
            counts = {state: float(count) for state, count in self.states.items()}
            for name, value in {**values, "hypervolume": self.hypervolume, **counts}.items():
                self._curves.add_scalar(f"search/{name}", value, trial.number)

    @property
    def hypervolume(self) -> float:
        """The hypervolume so far."""
        return self._volume.value

    @property
    def note(self) -> str:
        """The text of the progress bar beside the count of trials.

        >>> monitor = ProgressMonitor(reference=Objectives(0.0, 5e3, 400.0))
        >>> monitor.note
        'no plan keeps the constraints yet'
        """
        counts = [f"{self.states[state]} {label}" for state, label in STATE_LABELS.items() if state in self.states]
        if self.best is None:
            return ", ".join([*counts, "no plan keeps the constraints yet"])
        cost = f"{format_si(self.best.energy_uj * 1e-6, 'J')}, {format_si(self.best.latency_us * 1e-6, 's')}"
        best = f"best {self._quality} {self.best.accuracy:.3f} at {cost}"
        return ", ".join([*counts, f"hypervolume {self.hypervolume:.3f}", best])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._curves is not None:
            self._curves.close()


def _writer(logs: Path) -> SummaryWriter:
    need("search curves in logs/", "tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    shutil.rmtree(logs, ignore_errors=True)  # half a curve of a killed session; ``past`` draws the whole curve again
    return SummaryWriter(str(logs), flush_secs=5)
