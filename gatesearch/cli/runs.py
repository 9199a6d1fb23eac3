"""Commands that run the pipeline: ``run``, and each step on a run folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gatesearch.cli.arguments import RunFolder, Settings, find_run_folder, load_recipe, take
from gatesearch.errors import UserError
from gatesearch.pipeline.steps import STEPS


def run(settings: Settings = None) -> None:
    """Do everything, from data to report.

    out=DIR names the run folder, else runs/RECIPE-N; resume=RUN_DIR alone goes on with a stopped run.
    """
    words = list(settings or [])
    resume, out = take(words, "resume"), take(words, "out")
    if resume is None:
        recipe = load_recipe("run", words)
        from gatesearch.batch_study.auto_batch import resolve_batch_size
        from gatesearch.pipeline import run as pipeline

        pipeline.start(resolve_batch_size(recipe), Path(out) if out else None)
        return
    if words or out:
        raise UserError(f"resume={resume} goes on with the run as it is: leave out {' '.join(words) or f'out={out}'}")
    folder = find_run_folder("run resume=", resume)
    from gatesearch.pipeline import run as pipeline

    pipeline.resume(folder)


def step_commands() -> dict[str, Callable[[str], None]]:
    """Return the command of each step, by its name."""
    return {name: build_step(name) for name in STEPS} | {"report": report}


def build_step(name: str) -> Callable[[str], None]:
    """Return the command that does the steps of a run up to one of them."""

    def step(folder: RunFolder = "") -> None:
        path = find_run_folder(f"{name} ", folder)
        from gatesearch.pipeline import run as pipeline

        pipeline.resume(path, until=name)

    return step


def report(folder: RunFolder = "") -> None:
    """Write report.html of a run, also while it goes on."""
    path = find_run_folder("report ", folder)
    from gatesearch.pipeline import run as pipeline

    pipeline.report(path)
