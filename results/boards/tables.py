"""The tables of the ``boards`` page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gatesearch.report.rows import markdown_table
from results.boards import factors
from results.boards.calls import KINDS
from results.boards.comparison import Comparison, is_close
from results.boards.factors import ByTask
from results.boards.instructions import STREAM, CoreInstructions, macs_by_kind
from results.boards.networks import NETWORKS, WAKE_WORD
from results.boards.part_factors import PartFactor, describe
from results.boards.published import Published
from results.boards.wake_word import WakeWord

REFERENCES = {**NETWORKS, STREAM: WAKE_WORD}
TASKS = tuple(NETWORKS)
STREAM_ORGANISATION = "STMicroelectronics"  # submitted every streaming run that is predicted


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
    """Return the published cycles per multiply-accumulate of each system."""
    lines = []
    for comparison in comparisons:
        part, system = comparison.part, comparison.system
        own = [f"{1e3 * part.mhz * system.ms[task] / NETWORKS[task].macs:.2f}" for task in TASKS]
        lines.append(
            [part.title, part.core, f"{part.mhz:g}{'' if part.mhz_stated else '*'}", describe(comparison.system), *own]
        )
    return markdown_table(["part", "core", "MHz", "system", *TASKS], lines)


def latencies(comparisons: Sequence[Comparison]) -> str:
    """Return published latencies and the errors of the predictions."""
    lines = []
    for each in comparisons:
        lines.append(
            [
                each.part.title,
                describe(each.system),
                *(f"{each.system.ms[task]:.4g} ({each.errors[task]:+.0%})" for task in TASKS),
                format_largest_error(each.errors),
                format_largest_error(each.counted_errors),
                f"{each.instructions_per_cycle:.3f}",
            ]
        )
    heads = ["part", "system", *TASKS, "largest error", "with counted instructions", "instructions per cycle"]
    return markdown_table(heads, lines)


def organisations(comparisons: Sequence[Comparison]) -> str:
    """Return for each organisation the parts on which the price predicts its software within the target."""
    by_organisation: dict[str, list[Comparison]] = {}
    for each in comparisons:
        by_organisation.setdefault(describe(each.system), []).append(each)
    lines = []
    for name, own in sorted(by_organisation.items(), key=lambda item: -len(item[1])):
        errors = sorted(factors.largest(each.errors) for each in own)
        middle = f"{errors[0]:.0%}" if len(errors) == 1 else f"{errors[0]:.0%} to {errors[-1]:.0%}"
        lines.append([name, str(len(own)), str(sum(is_close(each.errors) for each in own)), middle])
    return markdown_table(["organisation", "parts", "parts within the target", "largest errors of its parts"], lines)


def weights(comparisons: Sequence[Comparison]) -> str:
    """Return a second term of the price, proportional to the bytes of weights, and the errors with and without it."""
    weight_bytes = {task: float(reference.weight_bytes()) for task, reference in NETWORKS.items()}
    lines = []
    for each in comparisons:
        readings, ms = each.instructions.predicted, each.system.ms
        _, ms_per_byte = factors.fit_with_bytes(readings, weight_bytes, ms)
        errors = factors.errors_with_bytes(readings, weight_bytes, ms)
        lines.append(
            [
                each.part.title,
                describe(each.system),
                f"{1e3 * each.part.mhz * ms_per_byte:.2f}",
                f"{factors.largest(each.errors):.0%}",
                f"{factors.largest(errors):.0%}",
                f"{factors.largest({task: error for task, error in errors.items() if task != 'ad'}):.0%}",
            ]
        )
    heads = ["part", "system", "cycles a byte", "largest error without", "with", "with, except ad"]
    return markdown_table(heads, lines)


def energies(comparisons: Sequence[Comparison]) -> str:
    """Return published energies and the errors of the predictions, for the systems with energies."""
    lines = [
        [
            each.part.title,
            describe(each.system),
            each.system.supply,
            *(f"{each.system.uj[task]:.4g} ({each.energy_errors[task]:+.0%})" for task in TASKS),
            format_largest_error(each.energy_errors),
            format_largest_error(each.power_errors),
        ]
        for each in comparisons
        if set(each.system.uj) == set(TASKS)
    ]
    heads = ["part", "system", "supply", *TASKS, "largest error", "of power alone"]
    return markdown_table(heads, lines)


def factors_table(part_factors: Mapping[str, PartFactor], published: Published) -> str:
    """Return the factor of each part with its arithmetic."""
    lines = [
        [
            published.parts[key].title,
            published.parts[key].core,
            f"{factor.instructions_per_cycle:.3f}",
            factor.source,
            "" if factor.is_tested else "**no**",
        ]
        for key, factor in part_factors.items()
    ]
    return markdown_table(["part", "core", "instructions per cycle", "from", "tested within the target"], lines)


def streams(wake_words: Sequence[WakeWord], comparisons: Sequence[Comparison]) -> str:
    """Return predicted and published duty and mean power of the streaming wake word."""
    lines = []
    for each in wake_words:
        lines.append(
            [
                each.title,
                f"{each.stream.mhz:g}",
                f"{each.instructions / 1e6:.2f}",
                f"{each.active_mw:.3g}",
                f"{each.floor_mw:.3g}",
                f"{each.duty:.1%}",
                f"{each.stream.duty:.1%} ({each.duty / each.stream.duty - 1:+.0%})",
                f"{each.mean_mw:.3g}",
                f"{each.stream.mean_mw:.4g}",
                mark_error(f"{each.error:+.0%}", each.is_close),
                _own_error(each, comparisons),
            ]
        )
    heads = ["part", "MHz", "million instructions a hop", "active mW", "floor mW", "duty", "published"]
    return markdown_table([*heads, "mean mW", "published", "error", "with the runs' own software"], lines)


def active_powers(wake_words: Sequence[WakeWord]) -> str:
    """Return the active power of each streaming run beside that of the energy runs at the same clock, in words."""
    return ", ".join(
        f"{each.stream.active_mw:.1f} mW for {each.title} (energy runs: {each.active_mw:.1f} mW)"
        for each in wake_words
        if not each.assumption
    )


def _own_error(wake_word: WakeWord, comparisons: Sequence[Comparison]) -> str:
    """Return the error of the mean power with the factor of the organisation that submitted the streaming runs."""
    for each in comparisons:
        if each.system.part == wake_word.stream.part and each.system.organisation == STREAM_ORGANISATION:
            factor = replace(wake_word.factor, instructions_per_cycle=each.instructions_per_cycle)
            own = replace(wake_word, factor=factor)
            return mark_error(f"{own.error:+.0%}", own.is_close)
    return ""


def unpredicted(
    published: Published, cores: Mapping[str, CoreInstructions], wake_words: Sequence[WakeWord]
) -> list[str]:
    """Return a line for each published run without a prediction, which says what is missing."""
    predicted = [each.stream for each in wake_words]
    lines = []
    for stream in published.streams:
        if stream not in predicted:
            part = published.parts[stream.part]
            if part.table is None or stream.has_coprocessor:
                reason = "there is no kernel table of its accelerator"
            elif part.table not in cores:
                reason = f"the benchmark ran without {part.table}"
            elif stream.floor_mw is None:
                reason = "no plot shows its floor"
            else:
                reason = "there is no factor or no active power of the part"
            lines.append(f"{part.title} at {stream.mhz:g} MHz: {stream.mean_mw:g} mW, duty {stream.duty:.1%}; {reason}")
    return lines


def tools(cores: Mapping[str, CoreInstructions]) -> list[str]:
    """Return a line for each core: compiler, emulator and digest of the kernels' sources."""
    return [
        f"{core}: {each.core}; {each.tools['compiler']}; {each.tools['emulator']}; sources {each.tools['sources']}"
        for core, each in cores.items()
    ]


def format_largest_error(errors: ByTask) -> str:
    """Return the largest error in per cent, in bold type beyond the target."""
    return mark_error(f"{factors.largest(errors):.0%}", is_close(errors))


def mark_error(text: str, is_within_target: bool) -> str:
    """Return an error, in bold type beyond its target.

    >>> mark_error("+9%", True), mark_error("-58%", False)
    ('+9%', '**-58%**')
    """
    return text if is_within_target else f"**{text}**"
