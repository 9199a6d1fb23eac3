"""Tests that files are written whole or not at all, even if temporary files are on another file system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch._lib.files import DamagedFile, read_bytes, seal, set_aside, unseal, write_whole
from gatesearch.errors import UserError


def test_the_new_file_is_renamed_within_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renames: list[tuple[Path, Path]] = []
    replace = Path.replace
    monkeypatch.setenv("TMPDIR", "/dev/shm")
    monkeypatch.setattr(Path, "replace", lambda self, target: renames.append((self, target)) or replace(self, target))
    write_whole(tmp_path / "deep" / "a.bin", b"1")
    [(part, target)] = renames
    assert part.parent == target.parent == tmp_path / "deep"


def test_file_and_folder_are_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    write_whole(tmp_path / "a.bin", b"1")
    assert [Path(name).name for name in flushed] == [f"a.bin.{os.getpid()}.part", tmp_path.name]


def test_the_error_names_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a.bin" / "b").mkdir(parents=True)
    with pytest.raises(UserError, match=r"a.bin: cannot be written: the folder .*a.bin is in its way; move it away"):
        write_whole(tmp_path / "a.bin", b"1")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/c: cannot be written: the file .*file is in its way; move it away"):
        write_whole(tmp_path / "file" / "c", b"1")
    assert {path.name for path in tmp_path.iterdir()} == {"a.bin", "file"}


def test_a_missing_file_reads_as_none_and_a_folder_is_an_error(tmp_path: Path) -> None:
    assert read_bytes(tmp_path / "a") is None
    with pytest.raises(DamagedFile, match="is a folder, not a file"):
        read_bytes(tmp_path)


def test_a_file_that_is_set_aside_keeps_its_content_beside_earlier_ones(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / "a.bin").write_bytes(bytes([number]))
        set_aside(tmp_path / "a.bin")
    (tmp_path / "a.bin").mkdir()
    assert set_aside(tmp_path / "a.bin") == tmp_path / "a.bin.damaged-4"
    names = ("a.bin.damaged", "a.bin.damaged-2", "a.bin.damaged-3")
    assert [(tmp_path / name).read_bytes() for name in names] == [b"\0", b"\1", b"\2"]
    assert not (tmp_path / "a.bin").exists()


@given(st.binary(max_size=60), st.data())
def test_a_seal_notices_any_change(payload: bytes, data: st.DataObject) -> None:
    sealed = seal(payload)
    assert unseal(Path("x"), sealed) == payload
    at = data.draw(st.integers(len(b"gatesearch sha256 "), len(sealed) - 1))
    flipped = bytes([*sealed[:at], sealed[at] ^ (1 << data.draw(st.integers(0, 7))), *sealed[at + 1 :]])
    for damaged in (flipped, sealed[:at]):
        with pytest.raises(DamagedFile, match="is damaged"):
            unseal(Path("x"), damaged)
