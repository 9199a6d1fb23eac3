"""The command ``pick``: lists the front of a run, and retrains and exports one of its plans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gatesearch.cli.arguments import AsJson, RunFolder, find_run_folder, read_positive, refuse_rest, take, take_trust
from gatesearch.cli.json_results import describe_result, divert_lines
from gatesearch.errors import UserError

if TYPE_CHECKING:
    from gatesearch.pipeline.choice import PlanChoice
    from gatesearch.pipeline.result import RunResult

CHOICE_KEYS = ("plan", "objective", "max_power_mw", "max_miss_rate")
ChoiceSettings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[plan=DIGEST | objective=NAME max_power_mw=N max_miss_rate=N] [trust=true]",
        help="The plan by the beginning of its digest, or the objective and bounds that choose it.",
        show_default=False,
    ),
]


def pick(folder: RunFolder = "", settings: ChoiceSettings = None, as_json: AsJson = False) -> None:
    """Retrain and export another plan of a run.

    Nothing is searched again. Without a choice, the command lists the front of the run. The results are in
    RUN_DIR/picks/DIGEST; the run's own best stays as it is.
    """
    words = list(settings or [])
    trust = take_trust(words)
    has_choice = bool(words)
    choice = take_choice(words)
    refuse_rest("pick", words, (*CHOICE_KEYS, "trust"))
    path = find_run_folder("pick ", folder)
    if not has_choice:
        list_front(path, trust=trust, as_json=as_json)
        return
    from gatesearch.pipeline import picks

    with divert_lines(as_json):
        result = picks.pick(path, choice, trust=trust)
    if as_json:
        from gatesearch._lib import console

        console.print_json(describe_result(result))
    require_parity(result)


def take_choice(words: list[str]) -> PlanChoice:
    """Remove the words that choose a plan from a command line, and return the choice.

    Raises:
        UserError: a value is no number above 0, there is no such objective, or plan= stands beside other keys.
    """
    from gatesearch.pipeline.choice import PlanChoice

    values = {key: take(words, key) for key in CHOICE_KEYS}
    bounds = {key: None if text is None else read_positive(key, text) for key, text in values.items() if "max" in key}
    return PlanChoice(plan=values["plan"], objective=values["objective"], **bounds)


def require_parity(result: RunResult) -> None:
    """Raise an error where artifacts differ from the model more than the recipe allows.

    All files have been written before, so that a user can look at them.
    """
    if result.shortfalls:
        raise UserError("; ".join(result.shortfalls))


def list_front(path: Path, *, trust: bool = False, as_json: bool = False) -> None:
    """Print the plans of a run's front and how to pick one, or one JSON document."""
    from gatesearch._lib import console
    from gatesearch._lib.format import format_percent, format_si
    from gatesearch.pipeline.choice import power_mw
    from gatesearch.pipeline.picks import read_opening, read_search
    from gatesearch.pipeline.run_dir import RunFolder
    from gatesearch.recipe import load_run

    folder = RunFolder(path)
    trials = read_search(load_run(path, trust=trust), folder)
    opening = read_opening(folder)
    front = [(trial.plan, trial.objectives) for trial in trials.rank_plans("energy") if trial.objectives is not None]
    period_s, quality = opening["data"]["period_s"], opening["goal"]["quality"]
    if as_json:
        document = [
            {"digest": plan.digest, "quality": quality, "power_mw": power_mw(objectives, period_s)}
            | objectives._asdict()
            | {"plan": plan.to_dict()}
            for plan, objectives in front
        ]
        console.print_json(document)
        return
    rows: list[Sequence[str]] = [
        (
            plan.digest,
            format_percent(objectives.accuracy),
            format_si(1e-3 * power_mw(objectives, period_s), "W"),
            format_si(1e-6 * objectives.latency_us, "s"),
            str(plan) or "no gates",
        )
        for plan, objectives in front
    ]
    console.table(f"front of {path}: figures of the search", ("plan", quality, "power", "latency", "gates"), rows)
    console.say(f"pick one with: gatesearch pick {path} plan={rows[0][0]}")
