"""Checks that a run folder holds the results that its run wrote, before a command shows or compares them."""

from __future__ import annotations

from pathlib import Path

from gatesearch._lib import console
from gatesearch._lib.files import DamagedFile, read_bytes
from gatesearch.errors import UserError
from gatesearch.pipeline.checksums import CHECKSUMS_FILE, Checksums
from gatesearch.pipeline.export import BUNDLE, BUNDLE_MANIFEST, check_files
from gatesearch.pipeline.pick_dir import PICKS
from gatesearch.pipeline.run_dir import OUTPUT_FILES, RunFolder
from gatesearch.pipeline.study import JOURNAL_FILE, Study
from gatesearch.recipe import Recipe
from gatesearch.search import SearchResult

FINAL_FILES = ("summary.json", "record.json")  # a run writes them at its end
RESULTS = (*(name for name in OUTPUT_FILES if not name.startswith("best/")), JOURNAL_FILE)


def check_results(folder: Path, only: str = "") -> None:
    """Check that every result that a run wrote is in its folder, and unchanged.

    ``logs/checksums.json`` says what a folder must hold: it has a digest of each file that the run wrote, and the
    manifest of a bundle has the digests of the bundle's files. Other files, such as weights of trainings, may be
    deleted, because a step makes them again. A digest is stored before its file, so in a run that ended in between, for
    instance at a full disk, a file of the best plan may be missing. Only a finished run must hold all of them.

    Args:
        folder: the folder of a run or of a pick, finished or not.
        only: the beginning of the names of the results to check; empty for all results.

    Raises:
        UserError: a result is missing or changed; the error names the first one, and the command that writes it again.
    """
    checksums = Checksums(folder)
    names = checksums.names()
    if names is None:
        console.warn(f"{folder / CHECKSUMS_FILE}: no such file; the run's files are read without digests")
        return
    finished = any((folder / name).exists() for name in FINAL_FILES)
    try:
        for name in names:
            is_result = name in RESULTS or (name.startswith("best/") and (finished or (folder / name).exists()))
            if name.startswith(only) and is_result:
                _check_file(folder, name, checksums)
    except UserError as error:
        line = str(error).removesuffix("; export again")
        raise UserError(f"{line}; write it again: {_command(folder)}") from None


def _check_file(folder: Path, name: str, checksums: Checksums) -> None:
    content = read_bytes(folder / name)
    if content is None:
        raise DamagedFile(folder / name, "is missing, and the run wrote it")
    checksums.check(name, content)
    if name == BUNDLE_MANIFEST:
        check_files(folder / BUNDLE)


def read_trials(recipe: Recipe, folder: RunFolder) -> SearchResult:
    """Return the trials so far, even while another process searches.

    Raises:
        UserError: the study holds fewer trials than ``trials.csv``, which each search writes at its end.
    """
    study = Study.find(recipe, folder)
    trials = study.read()
    if (loss := study.describe_loss(trials, folder)) is not None:
        raise UserError(f"{loss}; try the others again: {folder.resume_command}")
    return trials


def _command(folder: Path) -> str:
    if folder.parent.name == PICKS:
        return f"gatesearch pick {folder.parent.parent} plan={folder.name}"
    return f"gatesearch run resume={folder}"
