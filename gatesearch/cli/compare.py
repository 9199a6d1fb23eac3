"""The command ``compare``: puts finished runs beside each other in tables and on a page."""

from __future__ import annotations

import string
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from gatesearch.cli.arguments import AsJson, take
from gatesearch.cli.completion import complete_run_folder
from gatesearch.cli.json_results import describe_run
from gatesearch.errors import UserError

PAGE = "compare.html"
LINE_CHARACTERS = 80
MIN_RUNS, MAX_RUNS = 2, len(string.ascii_uppercase)
Runs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RUN_DIR RUN_DIR ... [out=FILE]",
        help=f"Finished runs, or picks of runs; the page is {PAGE}, or another file.",
        show_default=False,
        autocompletion=complete_run_folder,
    ),
]


def compare(runs: Runs = None, as_json: AsJson = False) -> None:
    """Put finished runs beside each other.

    A table and a page show their fronts, their picked plans, and what differs in recipe, data, device and commit.
    """
    words = list(runs or [])
    page = Path(take(words, "out") or PAGE)
    if not MIN_RUNS <= len(words) <= MAX_RUNS:
        raise UserError(f"compare: got {len(words)} runs; wanted: {MIN_RUNS} to {MAX_RUNS} run folders")
    from gatesearch._lib import console
    from gatesearch.pipeline.results_check import check_results
    from gatesearch.report import runs as comparison
    from gatesearch.report.compare_page import write_comparison

    finished, refused = [], []
    for name, word in zip(string.ascii_uppercase, words, strict=False):
        try:
            comparison.check_folder(Path(word))
            check_results(Path(word))
            finished.append(comparison.read_run(name, Path(word)))
        except UserError as error:
            refused.append(str(error))
            console.warn(f"compare: {error}")
    if len(finished) < MIN_RUNS:
        raise UserError(f"compare: {len(finished)} of {len(words)} runs can be compared; wanted: {MIN_RUNS} or more")
    groups = comparison.group_by_goal(finished)
    if as_json:
        differences = {goal: comparison.list_differences(members) for goal, members in groups.items()}
        document = {"runs": [describe_run(run) for run in finished], "differences": differences, "refused": refused}
        console.print_json(document | {"page": str(write_comparison(finished, refused, page))})
        return
    if len(groups) > 1:
        console.say(f"the runs have unlike goals ({', '.join(groups)}); each goal has tables of its own")
    for goal, members in groups.items():
        for run in members:
            console.say(f"{run.name}  {run.path}")
        console.table(f"{goal}: picked plans on the test split", *comparison.build_table(members))
        for key, values in comparison.list_differences(members).items():
            line = comparison.say_difference(key, values)
            console.say(textwrap.fill(line, LINE_CHARACTERS, subsequent_indent="  "))
    console.say("quality: measured on the test split; power: modelled from the device's constants")
    console.say(f"page: {write_comparison(finished, refused, page)}")
