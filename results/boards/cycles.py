"""Prices networks by cycles in place of instructions, and compares the errors on published boards.

The Python package ``cortex-cycle-budget`` (extra ``bench``) lists the least and the largest number of cycles of each
instruction of a Cortex-M. The package itself adds them up over the text of a program, in which a loop counts once. Here
its list prices the instructions that QEMU executed. The list models no wait states of memories and no stalls.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import mean

from gatesearch.gates import KernelCall
from results.boards import factors
from results.boards.calls import add_up
from results.boards.comparison import Comparison, compare
from results.boards.instructions import CoreInstructions, front_end_call, network_calls
from results.boards.mnemonics import Mnemonics
from results.boards.part_factors import part_factors
from results.boards.published import Published
from results.boards.wake_word import WakeWord, wake_words

PACKAGE = "cortex-cycle-budget"
VARIANTS = {"cortex_m4": "m4", "cortex_m33": "m33"}  # the package's name of each kernel table's core
CORES = ("Cortex-M4", "Cortex-M33")  # cores of the compared parts


@dataclass(frozen=True)
class Estimate:
    """An estimate of cycles from the least and the largest number of cycles of each instruction.

    Args:
        name: its name, for pages.
        share: how far the cycles of an instruction are on the way from the least to the largest number.
        counts_branches: whether a taken branch has the largest number of cycles, and another branch the least.
    """

    name: str
    share: float
    counts_branches: bool = False


ESTIMATES = (
    Estimate("least cycles", 0.0),
    Estimate("middle cycles", 0.5),
    Estimate("largest cycles", 1.0),
    Estimate("middle cycles, branches counted", 0.5, counts_branches=True),
)


@dataclass(frozen=True)
class Outcome:
    """The predictions of published figures with one kind of price.

    Args:
        name: ``"counted instructions"``, or the name of an estimate of cycles.
        comparisons: the systems of all parts with a core of :data:`CORES`.
        wake_words: the streaming runs of these parts.
    """

    name: str
    comparisons: list[Comparison]
    wake_words: list[WakeWord]

    @cached_property
    def latency_errors(self) -> list[float]:
        """Largest error of each system's latencies."""
        return [factors.largest(each.errors) for each in self.comparisons]

    @property
    def mean_latency_error(self) -> float:
        """Mean over the systems of their largest errors."""
        return mean(self.latency_errors)

    @property
    def mean_power_error(self) -> float:
        """Mean absolute error of the mean power, over the streaming runs."""
        return mean(abs(each.error) for each in self.wake_words)

    def spread(self, other: Outcome) -> float:
        """Return by how much the ratio of the prices in two outcomes differs at most between two networks of a system.

        For cycles and instructions, this is the relative difference of the networks' cycles per instruction.
        """
        spreads = []
        for own, others in zip(self.comparisons, other.comparisons, strict=True):
            prices, readings = own.instructions.predicted, others.instructions.predicted
            ratios = [prices[task] / readings[task] for task in own.system.ms]
            spreads.append(max(ratios) / min(ratios) - 1)
        return max(spreads)

    def better_systems(self, other: Outcome) -> int:
        """Return the number of systems whose largest error is smaller than in another outcome."""
        pairs = zip(self.latency_errors, other.latency_errors, strict=True)
        return sum(own < others for own, others in pairs)


def is_installed() -> bool:
    """Return whether the package with the list of cycles is installed."""
    return importlib.util.find_spec("cortex_cycle_budget") is not None


def version() -> str:
    """Return the version of the installed package."""
    return importlib.metadata.version(PACKAGE)


def cycles(mnemonics: Mnemonics, variant: str, estimate: Estimate) -> float:
    """Return an estimate of the cycles of executed instructions.

    Args:
        mnemonics: the executed instructions.
        variant: the package's name of the core, such as ``"m4"``.
        estimate: the estimate.
    """
    from cortex_cycle_budget.timing_model import classify_instruction, get_timing, resolve_timing_table

    table = resolve_timing_table(variant)
    total = 0.0
    for name, executions in mnemonics.items():
        least, largest = get_timing(name, table)
        is_counted = estimate.counts_branches and classify_instruction(name) == "branch"
        slow = executions.taken if is_counted else estimate.share * executions.number
        total += least * executions.number + (largest - least) * slow
    return total


def outcomes(
    published: Published,
    cores: Mapping[str, CoreInstructions],
    mnemonics: Mapping[str, Mapping[KernelCall, Mnemonics]],
) -> list[Outcome]:
    """Return the predictions with counted instructions, and then with each estimate of cycles.

    Args:
        published: the published figures.
        cores: instructions of the networks by kernel table.
        mnemonics: executed instructions of each call, by kernel table; the tables of :data:`VARIANTS`.
    """
    instructions = {
        core: _replace(cores[core], cores[core].counted, cores[core].counted_front_end) for core in mnemonics
    }
    listed = [_predict("counted instructions", published, instructions)]
    for estimate in ESTIMATES:
        prices = {core: _price(cores[core], VARIANTS[core], own, estimate) for core, own in mnemonics.items()}
        listed.append(_predict(estimate.name, published, prices))
    return listed


def _price(
    core: CoreInstructions, variant: str, mnemonics: Mapping[KernelCall, Mnemonics], estimate: Estimate
) -> CoreInstructions:
    by_call = {call: cycles(own, variant, estimate) for call, own in mnemonics.items()}
    networks = {task: add_up(calls, by_call.__getitem__) for task, calls in network_calls().items()}
    return _replace(core, networks, by_call[front_end_call()])


def _replace(core: CoreInstructions, networks: Mapping[str, float], front_end: float) -> CoreInstructions:
    return replace(core, predicted=networks, predicted_front_end=front_end)


def _predict(name: str, published: Published, cores: Mapping[str, CoreInstructions]) -> Outcome:
    comparisons = [each for each in compare(published, cores) if each.part.core in CORES]
    streams = wake_words(published, cores, part_factors(published, comparisons, cores))
    streams = [each for each in streams if published.parts[each.stream.part].core in CORES]
    return Outcome(name, comparisons, streams)
