"""Compares the price of the networks with a board's published latencies and energies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from results.boards import factors
from results.boards.factors import ByTask
from results.boards.instructions import CoreInstructions
from results.boards.networks import NETWORKS
from results.boards.published import Part, Published, System

LARGEST_ERROR = 0.15  # target for the error of a network that the fit leaves out


@dataclass(frozen=True)
class Comparison:
    """A board with published figures, and the instructions of the networks on its core.

    Args:
        part: the part.
        system: the software and its figures.
        instructions: instructions on the part's core.
    """

    part: Part
    system: System
    instructions: CoreInstructions

    @property
    def predicted_ms(self) -> dict[str, float]:
        """Latency of each network, with the instructions of the kernel table and the factor of the other networks."""
        return {task: (1 + error) * self.system.ms[task] for task, error in self.errors.items()}

    @property
    def errors(self) -> dict[str, float]:
        """Error of each latency, with the instructions of the kernel table and the factor of the other networks."""
        return factors.leave_one_out(self.instructions.predicted, self.system.ms)

    @property
    def counted_errors(self) -> dict[str, float]:
        """The same errors with counted instructions."""
        return factors.leave_one_out(self.instructions.counted, self.system.ms)

    @property
    def instructions_per_cycle(self) -> float:
        """Instructions of gatesearch's kernels in a cycle of the board; the factor that all its networks give."""
        ms_per_instruction = factors.fit(self.instructions.predicted, self.system.ms)
        return 1 / (ms_per_instruction * 1e3 * self.part.mhz)

    @property
    def energy_errors(self) -> dict[str, float]:
        """Error of each energy: predicted latency times the mean power of the other networks; empty without powers."""
        return {task: self.predicted_ms[task] * self._others_mw(task) / uj - 1 for task, uj in self.system.uj.items()}

    @property
    def power_errors(self) -> dict[str, float]:
        """Error of each mean power, predicted by the mean power of the other networks; empty without powers."""
        return {task: self._others_mw(task) / mw - 1 for task, mw in self.system.mw.items()}

    def _others_mw(self, task: str) -> float:
        powers = [mw for other, mw in self.system.mw.items() if other != task]
        return sum(powers) / len(powers)


def compare(published: Published, cores: Mapping[str, CoreInstructions]) -> list[Comparison]:
    """Return the comparison of every system with figures of all networks, on the given cores."""
    comparisons = []
    for system in published.systems:
        part = published.parts[system.part]
        if part.table is not None and part.table in cores and set(NETWORKS) <= set(system.ms):
            comparisons.append(Comparison(part, system, cores[part.table]))
    return comparisons


def closest(comparisons: Iterable[Comparison]) -> dict[str, Comparison]:
    """Return the system of each part whose latencies the price predicts best, by part."""
    best: dict[str, Comparison] = {}
    for comparison in comparisons:
        part = comparison.system.part
        if part not in best or factors.largest(comparison.errors) < factors.largest(best[part].errors):
            best[part] = comparison
    return best


def is_close(errors: ByTask) -> bool:
    """Return whether every error is within the target."""
    return factors.largest(errors) <= LARGEST_ERROR
