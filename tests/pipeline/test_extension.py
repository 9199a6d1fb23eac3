"""Tests that a run goes on with more trials as if it had begun with them, and that kills lose nothing."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch import recipe
from gatesearch._lib import files
from gatesearch.errors import UserError
from gatesearch.pipeline import run as pipeline
from gatesearch.pipeline.extension import extend_recipe, list_extensions, store_extension
from gatesearch.pipeline.problem import Inputs
from gatesearch.pipeline.results_check import check_results
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.staging import StagingFolder, finish_swap, folder_of_best
from gatesearch.recipe import trust
from tests.pipeline import small_run
from tests.pipeline.test_kills import figures
from tests.processes import fork, wait_for_end
from tests.schema_checks import check_run

pytestmark = pytest.mark.usefixtures("place")
SHORT, LONG = 1, 3
TIMEOUT_S = 900
EVERY_PLAN = {"space": small_run.SETTINGS["space"] | {"cores": ["mcu", "app"]}}
NEW_FILES = {"best/model.ckpt": b"new", "best/bundle/a": b"new", "summary.json": b"new", "logs/firmware.json": b"new"}


class Kill(BaseException):
    """Stands for a kill of the process."""


def search(trials: int) -> dict[str, Any]:
    return {**EVERY_PLAN, "search": small_run.SETTINGS["search"] | {"trials": trials}}


def extend(folder: Path, trials: int) -> Any:
    inputs = Inputs(small_run.network(), small_run.images())
    return pipeline.resume(folder, inputs=inputs, trust=True, trials=trials)


def fork_session(folder: Path, trials: int) -> int:
    """Start a run, or extend the run in a folder, in a forked process; return the id of the process.

    All whole runs of this file have processes of their own: a fork of a process with threads could wait for ever.
    """

    def work() -> None:
        if (folder / "recipe.yaml").exists():
            extend(folder, trials)
        else:
            small_run.run(folder, **search(trials))

    return fork(work, folder.with_suffix(".log"))


def end_session(folder: Path, trials: int) -> Path:
    """Run or extend to the end, in a process of its own."""
    import litert_torch  # noqa: F401  # before the fork, so that no session imports it

    assert wait_for_end(fork_session(folder, trials), TIMEOUT_S) == 0, folder.with_suffix(".log").read_text()
    return folder


def read_digests(folder: Path) -> list[str]:
    with (folder / "trials.csv").open(newline="") as file:
        return [row["digest"] for row in csv.DictReader(file)]


def without_extensions(folder: Path) -> dict[str, Any]:
    summary = figures(folder)
    summary["search"].pop("extensions", None)
    return summary


@pytest.fixture(scope="module")
def short(place: Path) -> Path:
    return end_session(place / "short", SHORT)


@pytest.fixture(scope="module")
def long(place: Path) -> Path:
    return end_session(place / "long", LONG)


@pytest.mark.slow
def test_an_extended_run_ends_as_one_that_asked_for_more_trials(short: Path, long: Path, tmp_path: Path) -> None:
    folder = tmp_path / "extended"
    shutil.copytree(short, folder)
    earlier = read_digests(folder)
    end_session(folder, LONG)
    check_run(folder)
    assert read_digests(folder) == read_digests(long) and read_digests(folder)[: len(earlier)] == earlier
    assert without_extensions(folder) == figures(long)
    assert (folder / "best/model.ckpt").read_bytes() == (long / "best/model.ckpt").read_bytes()
    expected = [{"earlier": SHORT, "trials": LONG}]
    assert json.loads((folder / "logs/origin.json").read_text())["extensions"] == expected
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["search"]["extensions"] == expected
    assert not any("not what the run began with" in line for line in summary["warnings"])
    assert not (folder / "next").exists()
    assert f"extended from {SHORT} to {LONG} trained plans" in (folder / "report.html").read_text()
    with pytest.raises(UserError, match=rf"search\.trials={SHORT}: the run has {LONG} trials already"):
        extend(folder, SHORT)


def small_recipe(trials: int = SHORT) -> recipe.Recipe:
    return recipe.load("kws_clips.yaml", [f"search.trials={trials}"])


def test_only_a_larger_number_of_trials_changes_the_recipe() -> None:
    written = small_recipe(40)
    assert extend_recipe(written, None) == extend_recipe(written, 40) == written
    assert extend_recipe(written, 41) == small_recipe(41)
    with pytest.raises(UserError, match=r"search\.trials=2: the run has 40 trials already; wanted: more"):
        extend_recipe(written, 2)


def killing(calls: int) -> Callable[..., Path]:
    """Return a stand-in for ``write_whole`` that stops the process before the write after a number of calls."""
    left = iter(range(calls))

    def write(path: Path, content: str | bytes) -> Path:
        if next(left, None) is None:
            raise Kill
        return files.write_whole(path, content)

    return write


@given(writes=st.integers(0, 8))
def test_a_kill_while_the_recipe_is_written_leaves_a_run_that_can_be_extended(
    writes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("extension")
    before = small_recipe().model_copy(update={"backbone": "some_module:Network"})
    extended = extend_recipe(before, 5)
    folder = RunFolder(path)
    folder.write("recipe.yaml", recipe.to_yaml(before))
    recipe.mark_run(path, before)
    folder.write_json("logs/origin.json", {"recipe": {"search.trials": SHORT}, "data": {}, "weights": ""})
    with pytest.MonkeyPatch.context() as patch:
        for module in ("pipeline.run_dir", "pipeline.checksums", "recipe.trust"):
            patch.setattr(f"gatesearch.{module}.write_whole", killing(writes))
        with contextlib.suppress(Kill):
            store_extension(before, extended, folder)
    found = recipe.load_run(path)  # raises an error if the mark does not hold
    assert found in (before, extended)
    assert list_extensions(found, folder) == ([] if found == before else [{"earlier": SHORT, "trials": 5}])
    if found == before:
        store_extension(before, extended, folder)
    assert recipe.load_run(path) == extended and trust.is_marked(path)
    assert list_extensions(extended, folder) == [{"earlier": SHORT, "trials": 5}]


@given(moves=st.integers(0, 9))
def test_a_kill_during_the_swap_loses_neither_best_plan(moves: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    run = RunFolder(tmp_path_factory.mktemp("swap"))
    for name in ("best/model.ckpt", "best/old", "summary.json"):
        run.write(name, b"old")
    staged = StagingFolder(run)
    for name, content in NEW_FILES.items():
        staged.write(name, content)
    staged.write("complete", "")
    left = iter(range(moves))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("rename", "replace", "unlink"):
            move = getattr(Path, name)

            def killed(path: Path, *arguments: Any, _move: Any = move, **named: Any) -> Any:
                if path.name.endswith(".part") or (arguments and str(path).endswith(".json.part")):
                    return _move(path, *arguments, **named)
                if next(left, None) is None:
                    raise Kill
                return _move(path, *arguments, **named)

            patch.setattr(Path, name, killed)
        try:
            finish_swap(run)
        except Kill:
            contents = {path.read_bytes() for path in run.path.rglob("model.ckpt")}
            assert b"new" in contents
            assert b"old" in contents or (run / "best/model.ckpt").read_bytes() == b"new"
    again = RunFolder(run.path)
    finish_swap(again)
    assert not (run / "next" / "complete").exists() and not (run / "best/old").exists()
    for name, content in NEW_FILES.items():
        assert again.read(name, bytes) == content  # its digest holds as well
    check_results(run.path)


def test_the_folder_of_the_best_plan_follows_the_record(tmp_path: Path) -> None:
    run, written = RunFolder(tmp_path), small_recipe(5)
    assert folder_of_best(written, run) is run
    entries = [{"earlier": 1, "trials": 5}]
    run.write_json("logs/origin.json", {"extensions": [*entries, {"earlier": 5, "trials": 9}]})
    assert isinstance(folder_of_best(written, run), StagingFolder)
    run.write_json("summary.json", {"search": {"extensions": entries}})
    assert folder_of_best(written, run) is run and not (tmp_path / "next").exists()


def kill_extensions(folder: Path, long: Path, kills: int, seed: int) -> None:
    """Kill the extension of a run at drawn moments; check that its end is that of a run with as many trials."""
    dice, started = random.Random(seed), time.monotonic()
    shutil.copytree(folder, whole := folder.with_name(f"{folder.name}-whole"))
    end_session(whole, LONG)
    seconds, old_best = time.monotonic() - started, (folder / "best/model.ckpt").read_bytes()
    new_best = (long / "best/model.ckpt").read_bytes()
    for _ in range(kills):
        pid = fork_session(folder, LONG)
        if wait_for_end(pid, dice.uniform(0, seconds / 2)) is not None:
            break
        os.kill(pid, signal.SIGKILL)
        wait_for_end(pid, 60)
        contents = [path.read_bytes() for path in folder.rglob("model.ckpt")]
        assert old_best in contents or new_best in contents
    end_session(folder, LONG)
    assert without_extensions(folder) == figures(long) and read_digests(folder) == read_digests(long)
    assert (folder / "best/model.ckpt").read_bytes() == new_best
    assert not (folder / "next").exists() and "Traceback" not in folder.with_suffix(".log").read_text()


@pytest.mark.slow
def test_a_kill_of_an_extension_loses_nothing(short: Path, long: Path, tmp_path: Path) -> None:
    shutil.copytree(short, tmp_path / "killed")
    kill_extensions(tmp_path / "killed", long, kills=2, seed=0)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(1, 11))
def test_kills_of_extensions_lose_nothing(seed: int, short: Path, long: Path, tmp_path: Path) -> None:
    shutil.copytree(short, tmp_path / "killed")
    kill_extensions(tmp_path / "killed", long, kills=10, seed=seed)
