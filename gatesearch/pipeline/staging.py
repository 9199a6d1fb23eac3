"""The folder in which an extended run makes its new best plan, until that takes the place of the old one."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

from gatesearch._lib import console
from gatesearch.pipeline.checksums import CHECKSUMS_FILE
from gatesearch.pipeline.export import BUNDLE
from gatesearch.pipeline.extension import list_extensions
from gatesearch.pipeline.result import RunResult
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.recipe import Recipe

STAGING = "next"
OLD_BEST = "old_best"  # the place of the old best plan in the staging folder, during the swap
COMPLETE_FILE = "complete"  # it exists as soon as all files of the new best plan are there


class StagingFolder(RunFolder):
    """The folder RUN/next, with the files of a run's end; trainings, warnings and seconds are those of the run.

    Args:
        run: the folder of the run.
    """

    def __init__(self, run: RunFolder) -> None:
        super().__init__(run / STAGING)
        self.trainings = run

    @property
    def final_path(self) -> Path:
        """The folder of the run, into which the files move."""
        return self.trainings.path

    @property
    def command(self) -> tuple[str, ...]:
        """The command that makes the results of the run again."""
        return self.trainings.command

    @property
    def resume_command(self) -> str:
        """The command that goes on with the run."""
        return self.trainings.resume_command

    def warnings(self) -> list[str]:
        """Return the warnings of the run."""
        return self.trainings.warnings()

    def store_warning(self, text: str) -> None:
        """Store a warning of the run."""
        self.trainings.store_warning(text)

    def seconds(self) -> dict[str, float]:
        """Return the seconds of the steps of the run."""
        return self.trainings.seconds()

    def add_seconds(self, step: str, seconds: float) -> None:
        """Add the seconds of a step to the account of the run."""
        self.trainings.add_seconds(step, seconds)


def folder_of_best(recipe: Recipe, folder: RunFolder) -> RunFolder:
    """Return the folder for a run's best plan: the run folder, or the staging folder until an extension has ended."""
    finish_swap(folder)
    extensions = list_extensions(recipe, folder)
    recorded = folder.load("summary.json", _parse_extensions, "a run that ends writes it again")
    if extensions and recorded != extensions:
        return StagingFolder(folder)
    discard_staging(folder)
    return folder


def publish(result: RunResult) -> RunResult:
    """Put a finished new best plan in the place of the old one; return the result with the folder of the run."""
    staged = result.folder
    if not isinstance(staged, StagingFolder):
        return result
    run = staged.trainings
    staged.write(COMPLETE_FILE, "")
    finish_swap(run)
    console.say(f"extended: the new best plan has replaced the old one in {run.path}")
    bundle = None if result.bundle is None else replace(result.bundle, path=run / BUNDLE)
    return replace(result, folder=run, bundle=bundle)


def finish_swap(run: RunFolder) -> None:
    """Move the files of a complete staging folder to their places; nothing happens if there is no such folder.

    After a kill at any moment, both best plans exist, and the next call does the remaining moves.
    """
    staged = run / STAGING
    if not (staged / COMPLETE_FILE).exists():
        return
    own = (COMPLETE_FILE, CHECKSUMS_FILE)
    names = [str(path.relative_to(staged)) for path in sorted(staged.rglob("*")) if path.is_file()]
    names = [name for name in names if name not in own and not name.startswith(f"{OLD_BEST}/")]
    digests = StagingFolder(run).checksums
    for name in names:
        if digests.expected_digests(name):
            run.checksums.expect(name, (staged / name).read_bytes())
    if any(name.startswith("best/") for name in names):
        if any((run / "best").iterdir()):
            (run / "best").rename(staged / OLD_BEST)
        (staged / "best").rename(run / "best")
    for name in names:
        if not name.startswith("best/"):
            (run / name).parent.mkdir(parents=True, exist_ok=True)
            (staged / name).replace(run / name)
    for name in run.checksums.names() or ():
        if name.startswith("best/") and not (run / name).exists():
            run.checksums.forget(name)  # the old best plan had this file, and the new one has not
    discard_staging(run)


def discard_staging(run: RunFolder) -> None:
    """Remove the staging folder."""
    staged = run / STAGING
    (staged / COMPLETE_FILE).unlink(missing_ok=True)  # first, so that a kill leaves nothing that looks complete
    shutil.rmtree(staged, ignore_errors=True)


def _parse_extensions(content: bytes) -> list[dict[str, int]]:
    return list(json.loads(content)["search"].get("extensions", ()))
