"""The tables of the ``boards`` page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gatesearch.report.rows import markdown_table
from results.boards import factors
from results.boards.calls import KINDS
from results.boards.comparison import Comparison, is_close
from results.boards.factors import ByTask
from results.boards.instructions import STREAM, CoreInstructions, macs_by_kind
from results.boards.networks import NETWORKS, WAKE_WORD

REFERENCES = {**NETWORKS, STREAM: WAKE_WORD}
TASKS = tuple(NETWORKS)


def networks(cores: Mapping[str, CoreInstructions]) -> str:
    """Return the instructions of each network on each core, predicted and counted."""
    lines = []
    for core, instructions in cores.items():
        for task, reference in REFERENCES.items():
            predicted, counted = instructions.predicted[task], instructions.counted[task]
            lines.append(
                [
                    core,
                    f"{task}: {reference.title}",
                    f"{reference.macs:,}",
                    f"{predicted:,.0f}",
                    f"{counted:,.0f}",
                    f"{predicted / counted - 1:+.1%}",
                    f"{counted / reference.macs:.2f}",
                ]
            )
    return markdown_table(["table", "network", "MACs", "predicted", "counted", "error", "counted per MAC"], lines)


def layers(cores: Mapping[str, CoreInstructions]) -> str:
    """Return counted instructions per multiply-accumulate, by network and kind of layer."""
    lines = []
    for core, instructions in cores.items():
        for task in REFERENCES:
            by_kind = instructions.counted_by_kind[task]
            shares = [
                f"{by_kind[kind] / macs_by_kind()[task][kind]:.2f}" if macs_by_kind()[task].get(kind) else ""
                for kind in KINDS[:-1]
            ]
            rest = by_kind.get(KINDS[-1], 0.0) / instructions.counted[task]
            lines.append([core, task, *shares, f"{rest:.1%}"])
    return markdown_table(["table", "network", *KINDS[:-1], "share without MACs"], lines)


def cycles(comparisons: Sequence[Comparison]) -> str:
    """Return the published cycles per multiply-accumulate of each part's fastest system."""
    lines = []
    for comparison in comparisons:
        part, system = comparison.part, comparison.system
        own = [f"{1e3 * part.mhz * system.ms[task] / NETWORKS[task].macs:.2f}" for task in TASKS]
        lines.append(
            [part.title, part.core, f"{part.mhz:g}{'' if part.mhz_stated else '*'}", _origin(comparison), *own]
        )
    return markdown_table(["part", "core", "MHz", "system", *TASKS], lines)


def latencies(comparisons: Sequence[Comparison]) -> str:
    """Return published latencies and the errors of the predictions."""
    lines = []
    for each in comparisons:
        lines.append(
            [
                each.part.title,
                _origin(each),
                *(f"{each.system.ms[task]:.4g} ({each.errors[task]:+.0%})" for task in TASKS),
                _largest(each.errors),
                _largest(each.counted_errors),
                f"{each.instructions_per_cycle:.3f}",
            ]
        )
    heads = ["part", "system", *TASKS, "largest error", "with counted instructions", "instructions per cycle"]
    return markdown_table(heads, lines)


def energies(comparisons: Sequence[Comparison]) -> str:
    """Return published energies and the errors of the predictions, for the systems with energies."""
    lines = [
        [
            each.part.title,
            _origin(each),
            each.system.supply,
            *(f"{each.system.uj[task]:.4g} ({each.energy_errors[task]:+.0%})" for task in TASKS),
            _largest(each.energy_errors),
        ]
        for each in comparisons
        if set(each.system.uj) == set(TASKS)
    ]
    return markdown_table(["part", "system", "supply", *TASKS, "largest error"], lines)


def tools(cores: Mapping[str, CoreInstructions]) -> list[str]:
    """Return a line for each core: compiler, emulator and digest of the kernels' sources."""
    return [
        f"{core}: {each.core}; {each.tools['compiler']}; {each.tools['emulator']}; sources {each.tools['sources']}"
        for core, each in cores.items()
    ]


def _origin(comparison: Comparison) -> str:
    return f"{comparison.system.organisation}, {comparison.system.round}"


def _largest(errors: ByTask) -> str:
    text = f"{factors.largest(errors):.0%}"
    return text if is_close(errors) else f"**{text}**"
