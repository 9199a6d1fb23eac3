"""Tests of run folders: their names, and files that are written completely or not at all."""

from __future__ import annotations

import csv
import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch._lib import console
from gatesearch.errors import UserError
from gatesearch.pipeline.checksums import CHECKSUMS_FILE
from gatesearch.pipeline.run_dir import OUTPUT_FILES, RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def test_a_new_folder_is_the_next_free_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "kws-2").mkdir(parents=True)
    paths = [RunFolder.new("kws", None).path for _ in range(3)]
    assert paths == [Path("runs/kws-1"), Path("runs/kws-3"), Path("runs/kws-4")]
    assert RunFolder.new("other", None).path == Path("runs/other-1")
    assert all((path / "best").is_dir() for path in paths)


def test_the_user_can_name_the_folder(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "down"
    assert RunFolder.new("kws", out).path == out and (out / "best").is_dir()
    assert RunFolder.new("kws", out).path == out  # a folder without a run may be used
    (out / "recipe.yaml").touch()
    with pytest.raises(UserError) as error:
        RunFolder.new("kws", out)
    assert str(error.value) == f"out={out}: holds a run already; go on with it: gatesearch run resume={out}"


def test_files_are_written_and_replaced(folder: RunFolder) -> None:
    assert folder.write("a/b.txt", "grün").read_bytes() == "grün".encode()
    assert folder.write("a/b.txt", b"\x00\x01").read_bytes() == b"\x00\x01"
    assert [path.name for path in (folder / "a").iterdir()] == ["b.txt"]


def test_json_is_written_and_read_back(folder: RunFolder) -> None:
    assert folder.read_json("x.json") is None
    folder.write_json("x.json", {"a": [1, None]})
    assert folder.read_json("x.json") == {"a": [1, None]}
    with pytest.raises(ValueError, match="JSON"):
        folder.write_json("x.json", float("nan"))
    assert folder.read_json("x.json") == {"a": [1, None]}


def test_tables_are_written_and_read_back(folder: RunFolder) -> None:
    rows: list[dict[str, Any]] = [{"a": 1, "b": 'x, "y"'}, {"a": None, "b": "two\nlines"}]
    folder.write_csv("t.csv", ["a", "b"], rows)
    with (folder / "t.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [{"a": "1", "b": 'x, "y"'}, {"a": "", "b": "two\nlines"}]
    assert [path.name for path in folder.path.glob("t*")] == ["t.csv"]


def test_a_write_that_fails_leaves_the_old_file(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write_json("x.json", 1)

    def half(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="No space left"):
        folder.write_json("x.json", {"much": "longer"})
    assert json.loads((folder / "x.json").read_text()) == 1


def test_an_interrupted_table_leaves_the_old_one(folder: RunFolder) -> None:
    folder.write_csv("t.csv", ["a"], [{"a": 1}])
    with pytest.raises(ValueError, match="fields not in fieldnames"):
        folder.write_csv("t.csv", ["a"], [{"a": 2}, {"wrong": 3}])
    assert (folder / "t.csv").read_text().split() == ["a", "1"]


@pytest.mark.parametrize(
    "out", ["a\nb", "a\x1b[31mb", "\udcffx", "x" * 300, "a\0b", "file/inside", "file", "loop", "a/../b\u2028"]
)
def test_a_path_that_cannot_be_a_run_folder_gives_an_error_of_one_line(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UserError) as error:
        RunFolder.new("kws", Path(out))
    line = str(error.value)
    assert line.startswith("out=") and len(line.splitlines()) == 1 and line.isprintable()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "loop"]


@pytest.mark.parametrize("runs", ["file", "link", "closed"])
def test_a_file_named_runs_gives_an_error_of_one_line(
    runs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if runs == "file":
        (tmp_path / "runs").write_text("mine")
    elif runs == "link":
        (tmp_path / "runs").symlink_to("nowhere/at/all")
    else:
        monkeypatch.setattr(Path, "mkdir", raise_read_only)
    with pytest.raises(UserError, match=r"cannot be a run folder: .*; name one with out="):
        RunFolder.new("kws", None)


def raise_read_only(*_: object, **__: object) -> None:
    raise OSError(errno.EROFS, "Read-only file system")


@given(st.data())
def test_a_changed_file_of_digests_is_noticed(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(Path(place))
        for name in ("summary.json", "best/plan.json"):
            folder.write_json(name, {"figure": 1})
        path = folder / CHECKSUMS_FILE
        content = path.read_bytes()
        digits = [i for i, byte in enumerate(content) if byte in b"0123456789abcdef"]
        at = data.draw(st.sampled_from(digits))
        path.write_bytes(content[:at] + (b"0" if content[at : at + 1] != b"0" else b"1") + content[at + 1 :])
        with console.collect_warnings() as warnings:
            folder.check_outputs()
        start = content.index(CHECKSUMS_FILE.encode())
        # A file of digests that does not name itself counts as a file of an older version.
        is_name = start <= at < start + len(CHECKSUMS_FILE)
        assert is_name or any("checksums.json: is damaged" in line for line in warnings)


@pytest.mark.parametrize("content", ["[]", '["a"]', "{}", "1", "null", '"a"', '{"summary.json": "a"}', "", "{"])
def test_another_file_in_place_of_the_digests_is_noticed(content: str, folder: RunFolder) -> None:
    folder.write("summary.json", b"{}")
    (folder / CHECKSUMS_FILE).write_text(content)
    with console.collect_warnings() as warnings:
        folder.check_outputs()
    assert len(warnings) == 1 and "checksums.json: is damaged" in warnings[0]


@pytest.mark.parametrize("name", OUTPUT_FILES)
def test_a_damaged_output_is_named_and_set_aside(name: str, folder: RunFolder) -> None:
    folder.write(name, b"{}")
    folder.check_outputs()
    (folder / name).write_bytes(b"[]")
    with console.collect_warnings() as warnings:
        folder.check_outputs()
    assert len(warnings) == 1 and f"{name}: is damaged" in warnings[0] and "a run that ends writes it" in warnings[0]
    assert (folder / f"{name}.damaged").read_bytes() == b"[]" and not (folder / name).exists()
