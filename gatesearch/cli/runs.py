"""Commands that run the pipeline: ``run``, and each step on a run folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gatesearch.cli.arguments import (
    AsJson,
    RunFolder,
    Settings,
    Trust,
    find_run_folder,
    load_recipe,
    read_count,
    refuse_rest,
    take,
    take_flag,
    take_trust,
)
from gatesearch.cli.json_results import describe_result, divert_lines
from gatesearch.cli.picks import require_parity
from gatesearch.errors import UserError, unknown
from gatesearch.pipeline.steps import STEPS

if TYPE_CHECKING:
    from gatesearch.pipeline.result import RunResult

TARGETS = ("firmware", "tflm")
SUMMARY = "summary.json"
ExportSettings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[plan=DIGEST] [target=firmware|tflm] [out=DIR] [trust=true]",
        help="Take another plan of the front, as pick does; also write firmware, or its later cores for TFLM; "
        "allow a run folder that was not made here to run its code.",
        show_default=False,
    ),
]


def run(settings: Settings = None, as_json: AsJson = False) -> None:
    """Do all steps of a recipe, from data to report.

    out=DIR names the run folder; without it, the folder is runs/RECIPE-N. resume=RUN_DIR alone continues a stopped run.
    resume=RUN_DIR search.trials=N goes on with a run, stopped or finished, up to a larger number of trials.
    dry_run=true trains nothing and makes no run folder: it checks the recipe, tries the export, and prints the space,
    the range of prices, the expected time and the memory, with --json as one document.
    """
    words = list(settings or [])
    is_dry = take_flag(words, "dry_run")
    resume, out = take(words, "resume"), take(words, "out")
    if as_json and not is_dry:
        raise UserError("--json: is for dry_run=true; a run writes summary.json")
    if is_dry:
        if resume is not None:
            raise UserError(f"dry_run=true: resume={resume} goes on with a run that has begun; leave one of them out")
        forecast_run(words, Path(out) if out else None, as_json)
        return
    if resume is None:
        recipe = load_recipe("run", words)
        from gatesearch.batch_study.auto_batch import resolve_batch_size
        from gatesearch.pipeline import run as pipeline

        require_parity(pipeline.start(resolve_batch_size(recipe), Path(out) if out else None))
        return
    trust = take_trust(words)
    trials = take(words, "search.trials")
    if words or out:
        raise UserError(
            f"resume={resume} goes on with the run as it is: leave out {' '.join(words) or f'out={out}'}; only "
            "search.trials can grow"
        )
    folder = find_run_folder("run resume=", resume)
    from gatesearch.pipeline import run as pipeline

    more_trials = None if trials is None else read_count("search.trials", trials)
    require_parity(pipeline.resume(folder, trials=more_trials, trust=trust))


def forecast_run(words: Sequence[str], out: Path | None, as_json: bool) -> None:
    """Print what a run of a recipe would search and take, and train nothing."""
    recipe = load_recipe("run", words)
    from gatesearch._lib import console
    from gatesearch.batch_study.auto_batch import resolve_batch_size
    from gatesearch.pipeline.forecast import forecast, print_forecast

    with divert_lines(as_json):
        result = forecast(resolve_batch_size(recipe), out)
    if as_json:
        console.print_json(result.to_dict())
    else:
        print_forecast(result)


def step_commands() -> dict[str, Callable[[str], None]]:
    """Return the command of each step, by its name."""
    return {name: build_step(name) for name in STEPS} | {"export": export, "report": report}


def build_step(name: str) -> Callable[..., None]:
    """Return the command that does the steps of a run up to the named one."""

    def step(folder: RunFolder = "", settings: Trust = None, as_json: AsJson = False) -> None:
        trust = _take_only_trust(name, settings)
        path = find_run_folder(f"{name} ", folder)
        from gatesearch.pipeline import run as pipeline

        with divert_lines(as_json):
            result = pipeline.resume(path, until=name, trust=trust)
        finish_step(result, as_json)

    return step


def finish_step(result: RunResult, as_json: bool) -> None:
    """Print the result of a step as one document where a program asks for it, and check its parity."""
    if as_json:
        from gatesearch._lib import console

        console.print_json(describe_result(result))
    require_parity(result)


def export(folder: RunFolder = "", settings: ExportSettings = None, as_json: AsJson = False) -> None:
    """Cut the model into stages, with one program for each core.

    target=firmware writes the firmware of a run on a stream of sound, to out=DIR or to RUN_DIR/best/firmware.
    target=tflm writes the stages of its later cores for TensorFlow Lite Micro, to out=DIR or to RUN_DIR/best/tflm. With
    plan=DIGEST, all results are in RUN_DIR/picks/DIGEST, as those of pick.
    """
    words = list(settings or [])
    trust, plan, target, out = take_trust(words), take(words, "plan"), take(words, "target"), take(words, "out")
    refuse_rest("export", words, ("trust", "plan", "target", "out"))
    if target not in (None, *TARGETS):
        raise unknown("export", "target", target, TARGETS)
    if out is not None and target is None:
        raise UserError(
            f"out={out}: names the folder of a target; wanted: target={' or target='.join(TARGETS)} as well"
        )
    path = find_run_folder("export ", folder)
    with divert_lines(as_json):
        result = _export_plan(path, plan, trust)
        if target is not None:
            _export_target(result, target, out)
    finish_step(result, as_json)


def _export_plan(path: Path, plan: str | None, trust: bool) -> RunResult:
    """Return the result of a run up to the bundle of its best plan, or of the plan with a digest."""
    if plan is None:
        from gatesearch.pipeline import run as pipeline

        return pipeline.resume(path, until="export", trust=trust)
    from gatesearch.pipeline import picks
    from gatesearch.pipeline.choice import PlanChoice

    return picks.pick(path, PlanChoice(plan=plan), until="export", trust=trust)


def _export_target(result: RunResult, target: str, out: str | None) -> None:
    """Write one of :data:`TARGETS`."""
    from gatesearch.pipeline.firmware import FIRMWARE, export_firmware
    from gatesearch.pipeline.tflm import TFLM, export_tflm

    assert result.bundle is not None  # the export step, which has run, makes it
    place, write = {"firmware": (FIRMWARE, export_firmware), "tflm": (TFLM, export_tflm)}[target]
    write(result.problem, result.bundle, Path(out) if out else result.folder / place)


def report(folder: RunFolder = "", settings: Trust = None, as_json: AsJson = False) -> None:
    """Write report.html of a run, even while the run goes on."""
    trust = _take_only_trust("report", settings)
    path = find_run_folder("report ", folder)
    from gatesearch.pipeline import run as pipeline

    with divert_lines(as_json):
        pipeline.report(path, trust=trust)
    if as_json:
        print_summary(path)


def print_summary(path: Path) -> None:
    """Print summary.json of a run.

    Raises:
        UserError: the run has not ended.
    """
    from gatesearch._lib import console

    summary = path / SUMMARY
    if not summary.is_file():
        raise UserError(f"report: {path}: has no {SUMMARY} until it ends; go on with it: gatesearch run resume={path}")
    console.print_json(json.loads(summary.read_text(encoding="utf-8")))


def _take_only_trust(command: str, settings: list[str] | None) -> bool:
    words = list(settings or [])
    trust = take_trust(words)
    if words:
        raise UserError(f"{command}: got unexpected extra argument ({words[0]}); it takes RUN_DIR and trust=true")
    return trust
