"""results/batch_study: the page, its rows and a plot for each study that has ended."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gatesearch._lib.format import format_duration
from gatesearch.batch_study import plot
from gatesearch.batch_study.outcome import OUTCOME, RUNS
from gatesearch.report.rows import RESULTS, Row, markdown_table, median_and_range, write_results

Outcome = Mapping[str, Any]

INTRODUCTION = """\
How many steps a training takes to a goal, a **validation** error, for each batch size, when each is tuned by
itself; after Shallue et al. 2018, *Measuring the Effects of Data Parallelism on Neural Network Training* ([arXiv
1811.03600](https://arxiv.org/abs/1811.03600)), in small. The test split is not looked at.

What is trained is the recipe's ungated backbone from scratch, on the recipe's data, augmentation and label
smoothing, by SGD with Nesterov momentum and a linear decay, without weight decay, warm-up or averaging: not the
AdamW of a run's own training, whose critical batch size may lie elsewhere. A pilot at a middle batch size sets the
goal: what the middle one of its best three has at 60 % of its steps. Then each batch size has a quasi-random search
of its own (scrambled Sobol points) over effective learning rate, 1 - momentum, share of the budget in which the
rate falls, and where it falls to; ranges are as wide for every batch size, the rate's centre goes with the square
root of the batch size, and a bound that the best trial is within a tenth of is moved on and searched further. A
trial ends at the goal, at its budget, at twice the steps of the third best so far (which changes no best), or
diverged (NaN, or a smoothed loss three times the first). The three best configs are trained again; **steps** is the
least of their medians, its interval the 5th to 95th percentile of the same procedure over trials and repeats drawn
again (bootstrap). The interval of the critical batch size is corrected for bias, because the best of trials drawn
again is worse than the best of all."""

PUBLISHED = """\
Published, on 35 workloads of other data, models and size (Shallue et al. 2018), so that nothing here has to match:
up to a critical batch size steps fall as the batch grows, then returns diminish, then more parallelism buys
nothing; where that lies differs widely between workloads; neither the linear nor the square-root rule for the
learning rate holds for all; tuned afresh, large batches were not seen to harm the error out of sample; and the same
number of epochs for every batch size shows little but the region of perfect scaling."""

COLUMNS = (
    *("batch", "steps", "5 to 95 %", "fewest in the search", "samples to the goal", "slope", "regime"),
    *("best rate / (1 - m)", "momentum", "trials", "reached", "not reached", "diverged", "bounds moved on"),
)


def write(runs: Path = RUNS, folder: Path = RESULTS / "batch_study") -> Path:
    """Write the pages from every outcome under a folder of runs; returns the path of the Markdown."""
    found = [json.loads(path.read_text()) for path in sorted(runs.glob(f"*-scaling/{OUTCOME}"))]
    parts = ["# Steps to a goal against batch size", INTRODUCTION]
    rows: list[Row] = []
    for outcome in found:
        parts += _section(outcome)
        rows += _rows(outcome)
    path = write_results(folder, rows, "\n\n".join([*parts, PUBLISHED]))
    for outcome in found:
        plot.draw(outcome, folder / _figure(outcome))
    return path


def summary(outcome: Outcome) -> list[str]:
    """Return what came out, a sentence a line."""
    critical, exponent = outcome["critical"], outcome["exponent"]
    missed = [str(p["batch"]) for p in outcome["points"] if p["steps"] is None]
    lines = [f"batch sizes that did not reach the goal: {', '.join(missed)}"] if missed else []
    if critical is None:
        return [*lines, "critical batch size: none, fewer than three batch sizes reached the goal"]
    sizes = [p["batch"] for p in outcome["points"]]
    value, low, high = (_within(size, sizes) for size in (critical["value"], *critical["interval"]))
    rule = exponent["value"]
    return [
        *lines,
        f"critical batch size: {value} ({low} to {high}, 90 % of the draws)",
        f"best effective learning rate ~ batch^{rule:.2f} ({exponent['interval'][0]:.2f} to "
        f"{exponent['interval'][1]:.2f}); the linear rule says 1, the square-root rule 0.5",
        f"batch size to train with: {outcome['batch_size']} (retrain.batch_size=auto)",
    ]


def table(outcome: Outcome) -> list[list[str]]:
    """Return a row of text for each batch size, in the order of :data:`COLUMNS`."""
    return [_line(point) for point in outcome["points"]]


def _section(outcome: Outcome) -> list[str]:
    pilot, settings, machine = outcome["pilot"], outcome["settings"], outcome["machine"]
    data = outcome["data"]
    norm = (
        "The backbone normalises over the batch, which would make every batch size another training: here every "
        f"group of {outcome['ghost']} samples is normalised by itself at all batch sizes, and evaluation takes its "
        "statistics from the same 256 training samples each time."
        if outcome["ghost"]
        else "The backbone does not normalise over the batch."
    )
    source = "given on the command line" if settings["goal"] else "set by the pilot"
    about = (
        f"Data: {data['source']} ({data['train']:,} training and {data['validation']:,} validation samples). "
        f"Goal: a validation error of {outcome['goal']:.4g}, {source} (batch {pilot['batch']}, {pilot['budget']} "
        f"steps, {settings['pilot']} trials). Trials a batch size: {settings['trials']}; repeats of the best three: "
        f"{settings['seeds']} seeds; budget: {settings['cap']:g} times perfect scaling. {norm}"
    )
    equal = (
        "Equal budgets: the best config of each batch size again, its decay laid over the budget but not tuned for "
        f"it, for the pilot's {pilot['budget']} steps and for its {outcome['epochs']} epochs."
    )
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return [
        f"## {outcome['recipe']}",
        f"    {outcome['command']}",
        about,
        f"![Steps against batch size]({_figure(outcome)})",
        "\n".join(f"- {line}" for line in summary(outcome)),
        markdown_table(COLUMNS, table(outcome)),
        "Slope: of log2 steps over log2 batch size between the neighbours; up to -0.9 perfect scaling, above -0.1 "
        f"maximal parallelism. Critical: B of (S / S_min - 1)(E / E_min - 1) = 1. {equal}",
        markdown_table(
            ("batch", "same steps, error %", "same epochs, error %"), [_equal(p) for p in outcome["points"]]
        ),
        f"Seed {outcome['seed']}; {format_duration(outcome['seconds'])} of processor time, measured. "
        f"Machine: {machine['cpu']}. Versions: {versions}.",
    ]


def _line(point: Mapping[str, Any]) -> list[str]:
    counts = [str(point[key]) for key in ("trials", "reached", "ended", "diverged")]
    moved = ", ".join(point["moved"]) + (f" (still near: {', '.join(point['at_edge'])})" if point["at_edge"] else "")
    if point["steps"] is None:
        return [str(point["batch"]), f"> {point['budget']}", *[""] * 4, "goal not reached", "", "", *counts, moved]
    low, high = ("never" if bound is None else f"{bound:.0f}" for bound in point["interval"])
    return [
        str(point["batch"]),
        f"{point['steps']:.0f}",
        f"{low} to {high}",
        str(point["fewest"]),
        f"{point['batch'] * point['steps']:,.0f}",
        "" if point["slope"] is None else f"{point['slope']:.2f}",
        point["regime"] or "",
        f"{point['best']['rate']:.3g}",
        f"{point['best']['momentum']:.3f}",
        *counts,
        moved,
    ]


def _within(size: float, studied: Sequence[int]) -> str:
    """Return a critical batch size as text; of those beyond the ones studied no more is known than that."""
    if size < studied[0]:
        return f"below {studied[0]}"
    return f"above {studied[-1]}" if size > studied[-1] else f"{size:.0f}"


def _equal(point: Mapping[str, Any]) -> list[str]:
    cells = [str(point["batch"])]
    for key in ("fixed_steps", "fixed_epochs"):
        values = point[key]
        if not values:
            cells.append("not run: no config reached the goal")
        elif None in values:
            cells.append(f"{values.count(None)} of {len(values)} diverged")
        else:
            cells.append(median_and_range([100 * value for value in values]))
    return cells


def _rows(outcome: Outcome) -> list[Row]:
    seeds = tuple(range(1, outcome["settings"]["seeds"] + 1))
    rest: dict[str, Any] = {
        "target": None,
        "provenance": "measured",
        "protocol": f"{outcome['data']['source']}; validation split, goal error {outcome['goal']:.6g}",
        "command": outcome["command"],
    }
    rows = []

    def add(name: str, values: Sequence[float], unit: str, of: tuple[int, ...]) -> None:
        value = statistics.median(values)
        rows.append(Row(f"{outcome['recipe']}: {name}", value, unit, seeds=of, values=tuple(values), **rest))

    for point in outcome["points"]:
        if point["steps"] is not None:
            add(f"steps to the goal at batch {point['batch']}", [point["steps"]], "steps", seeds)
            add(f"best effective rate at batch {point['batch']}", [point["best"]["rate"]], "1", seeds)
        for key in ("fixed_steps", "fixed_epochs"):
            if point[key] and None not in point[key]:
                add(f"error under {key.replace('_', ' ')} at batch {point['batch']}", point[key], "share", seeds)
    if outcome["critical"] is not None:
        whole = (outcome["seed"],)
        low, high = outcome["critical"]["interval"]
        add("critical batch size", [outcome["critical"]["value"]], "samples", whole)
        add("critical batch size, 5th percentile", [low], "samples", whole)
        add("critical batch size, 95th percentile", [high], "samples", whole)
        add("exponent of the best effective rate", [outcome["exponent"]["value"]], "1", whole)
        add("batch size to train with", [outcome["batch_size"]], "samples", whole)
    return rows


def _figure(outcome: Outcome) -> str:
    return f"{outcome['recipe']}.png"
