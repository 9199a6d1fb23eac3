"""Writes the page of all batch-size studies, results/batch_study: README.md, rows.json and plots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gatesearch._lib.format import format_duration
from gatesearch.batch_study import plot
from gatesearch.batch_study.auto_batch import OUTCOME_FILE, RUNS
from gatesearch.batch_study.rows import build_rows
from gatesearch.report.rows import RESULTS, Row, markdown_table, median_and_range, write_results

Outcome = Mapping[str, Any]

STEPS_COLUMNS = (
    "batch",
    "steps",
    "5 to 95 %",
    "fewest in the search",
    "samples to the goal",
    "slope",
    "regime",
    "best rate / (1 - m)",
    "momentum",
    "trials",
    "reached",
    "not reached",
    "diverged",
    "moved bounds",
)
ERRORS_COLUMNS = ("batch", "same steps, error %", "same epochs, error %")


def write_page(runs: Path = RUNS, folder: Path = RESULTS / "batch_study") -> Path:
    """Write the page, its rows and its plots from every outcome under a folder of runs; return the page's path."""
    outcomes = [json.loads(path.read_text()) for path in sorted(runs.glob(f"*-scaling/{OUTCOME_FILE}"))]
    rows: list[Row] = []
    for outcome in outcomes:
        rows += build_rows(outcome)
    path = write_results(folder, rows, _render(outcomes))
    for outcome in outcomes:
        plot.draw(outcome, folder / f"{outcome['recipe']}.png")
    return path


def summarise(outcome: Outcome) -> list[str]:
    """Return the result of a study in a few sentences, one on each line."""
    critical, exponent = outcome["critical"], outcome["exponent"]
    missed = [str(point["batch"]) for point in outcome["points"] if point["steps"] is None]
    lines = [f"batch sizes that did not reach the goal: {', '.join(missed)}"] if missed else []
    if critical is None:
        return [*lines, "critical batch size: none, fewer than three batch sizes reached the goal"]
    sizes = [point["batch"] for point in outcome["points"]]
    value, low, high = (_format_critical(size, sizes) for size in (critical["value"], *critical["interval"]))
    low_exponent, high_exponent = exponent["interval"]
    return [
        *lines,
        f"critical batch size: {value} ({low} to {high}, 90 % of the draws)",
        f"best effective learning rate ~ batch^{exponent['value']:.2f} ({low_exponent:.2f} to {high_exponent:.2f}); "
        "the linear rule says 1, the square-root rule 0.5",
        f"batch size to train with: {outcome['batch_size']} (retrain.batch_size=auto)",
    ]


def build_steps_table(outcome: Outcome) -> list[list[str]]:
    """Return a row of text for each batch size, in the order of :data:`STEPS_COLUMNS`."""
    return [_build_steps_row(point) for point in outcome["points"]]


def _render(outcomes: Sequence[Outcome]) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown, not HTML
    )
    return environment.get_template("page.md.j2").render(studies=[_format_study(outcome) for outcome in outcomes])


def _format_study(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome with its tables and lists as Markdown, for the template."""
    errors_table = [_build_errors_row(point) for point in outcome["points"]]
    return {
        **outcome,
        "summary": "\n".join(f"- {line}" for line in summarise(outcome)),
        "steps_table": markdown_table(STEPS_COLUMNS, build_steps_table(outcome)),
        "errors_table": markdown_table(ERRORS_COLUMNS, errors_table),
        "duration": format_duration(outcome["seconds"]),
        "versions": ", ".join(f"{name} {version}" for name, version in outcome["machine"]["versions"].items()),
    }


def _build_steps_row(point: Mapping[str, Any]) -> list[str]:
    """Return the cells of one batch size in the table of steps."""
    counts = [str(point[key]) for key in ("trials", "reached", "ended", "diverged")]
    edges = ", ".join(point["moved"])
    if point["at_edge"]:
        edges += f" (still near: {', '.join(point['at_edge'])})"
    if point["steps"] is None:
        return [str(point["batch"]), f"> {point['budget']}", *[""] * 4, "goal not reached", "", "", *counts, edges]
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
        edges,
    ]


def _build_errors_row(point: Mapping[str, Any]) -> list[str]:
    cells = [str(point["batch"])]
    for key in ("fixed_steps", "fixed_epochs"):
        errors = point[key]
        if not errors:
            cells.append("not run: no config reached the goal")
        elif None in errors:
            cells.append(f"{errors.count(None)} of {len(errors)} diverged")
        else:
            cells.append(median_and_range([100 * error for error in errors]))
    return cells


def _format_critical(size: float, studied: Sequence[int]) -> str:
    """Return a critical batch size as text; outside the studied sizes, the text says only on which side it lies."""
    if size < studied[0]:
        return f"below {studied[0]}"
    return f"above {studied[-1]}" if size > studied[-1] else f"{size:.0f}"
