"""Tests of refused runs: before the first training no file remains; later, the run folder stores the error."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatesearch.errors import UserError
from gatesearch.pipeline.refusal import list_entries, remove_unless_started, store_refusal
from gatesearch.pipeline.run_dir import RunFolder
from tests.pipeline import small_run


def refuse(path: Path, file: str | None = None) -> None:
    earlier = list_entries(path)
    folder = RunFolder(path)
    with remove_unless_started(folder, earlier), store_refusal(folder):
        folder.write("recipe.yaml", "seed: 0")
        if file is not None:
            folder.write(file, b"")
        raise UserError("the network cannot be exported")


def test_a_refused_run_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be exported"):
        refuse(tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_files_that_were_there_before_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "figures").mkdir()
    with pytest.raises(UserError, match="cannot be exported"):
        refuse(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures", "notes.txt"]


@pytest.mark.parametrize("file", ["logs/baseline/last.ckpt", "baseline.ckpt"])
def test_a_run_folder_with_trainings_stays_and_says_why_the_run_ended(file: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be exported"):
        refuse(tmp_path / "run", file)
    assert RunFolder(tmp_path / "run").warnings() == ["a session ended with an error: the network cannot be exported"]


def test_the_python_api_leaves_no_folder_if_its_data_do_not_fit_the_stream(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nearest: 'other'"):
        small_run.run(tmp_path / "run", stream={"shares": {"positive": 0.5, "others": 0.5}})
    assert not list(tmp_path.iterdir())
