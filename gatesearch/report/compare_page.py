"""The page of `gatesearch compare`: fronts of several runs together, picked plans, and what differs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gatesearch._lib.files import write_whole
from gatesearch._lib.plugins import need
from gatesearch.report.figures.fronts import draw_fronts
from gatesearch.report.runs import FinishedRun, build_table, group_by_goal, list_differences
from gatesearch.report.style import inline_svg, settings


def write_comparison(runs: Sequence[FinishedRun], refused: Sequence[str], path: Path) -> Path:
    """Write the page of some runs, which opens without a network.

    Args:
        runs: the runs.
        refused: a line for each run that cannot be compared.
        path: the file to write.
    """
    return write_whole(path, render(runs, refused))


def render(runs: Sequence[FinishedRun], refused: Sequence[str] = ()) -> str:
    """Return the page as text."""
    need("report", "jinja2", "matplotlib")
    import jinja2
    from markupsafe import Markup

    groups = []
    for goal, members in group_by_goal(runs).items():
        heads, rows = build_table(members)
        with settings():
            svg = inline_svg(draw_fronts(members), f"fronts-{goal}", f"Fronts of {len(members)} runs")
        groups.append(
            {
                "goal": goal,
                "figure": Markup(svg),
                "heads": heads,
                "rows": rows,
                "paths": [str(run.path) for run in members],
                "differences": list_differences(members),
            }
        )
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    template = environment.get_template("compare.html.j2")
    return template.render(groups=groups, count=len(runs), refused=refused)
