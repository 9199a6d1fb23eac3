"""Tests of the user's cache folder: files of other users, links and damaged files are ignored."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch._lib import user_cache
from gatesearch._lib.console import collect_warnings

CONTENT = b"what was computed"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return user_cache.close_folder(tmp_path / "cache")


def test_a_folder_is_closed_to_other_users(tmp_path: Path) -> None:
    wide = tmp_path / "wide"
    wide.mkdir()
    wide.chmod(0o777)
    for path in (wide, tmp_path / "new" / "deep"):
        assert user_cache.close_folder(path) == path
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_stored_file_is_read_back(folder: Path) -> None:
    assert user_cache.find_file(folder, "table", ".json") is None
    path = user_cache.store_file(folder, "table", ".json", CONTENT)
    assert user_cache.find_file(folder, "table", ".json") == path
    assert user_cache.read_file(folder, "table", ".json") == CONTENT
    assert user_cache.read_file(folder, "tab", ".json") is None


@given(damage=st.binary(max_size=40), position=st.integers(0, len(CONTENT)))
def test_a_damaged_file_is_ignored(tmp_path_factory: pytest.TempPathFactory, damage: bytes, position: int) -> None:
    folder = user_cache.close_folder(tmp_path_factory.mktemp("cache"))
    path = user_cache.store_file(folder, "kernels", ".so", CONTENT)
    path.write_bytes(CONTENT[:position] + damage)
    is_whole = path.read_bytes() == CONTENT
    with collect_warnings() as lines:
        assert user_cache.read_file(folder, "kernels", ".so") == (CONTENT if is_whole else None)
    assert path.exists() == is_whole
    assert lines == ([] if is_whole else [f"cache {path}: is damaged; it is removed and built again"])


def test_links_and_files_without_a_digest_are_ignored(folder: Path, tmp_path: Path) -> None:
    path = user_cache.store_file(folder, "kernels", ".so", CONTENT)
    outside = tmp_path / "outside"
    path.rename(outside)
    path.symlink_to(outside)
    (folder / "kernels.so").write_bytes(CONTENT)
    assert user_cache.find_file(folder, "kernels", ".so") is None
    assert outside.exists() and not path.is_symlink()


def test_a_folder_that_is_not_the_users_own_is_not_used(tmp_path: Path) -> None:
    theirs, file = tmp_path / "theirs", tmp_path / "file"
    theirs.symlink_to(tmp_path)
    file.write_text("")
    for path in (theirs, file, file / "below"):
        with collect_warnings() as lines:
            other = user_cache.close_folder(path)
        assert other != path and stat.S_IMODE(other.stat().st_mode) == 0o700
        [line] = lines
        assert line.startswith(f"cache {path}: ") and line.endswith(
            "a temporary folder takes its place in this process"
        )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_files_of_another_user_are_ignored(folder: Path, tmp_path: Path) -> None:
    os.chown(user_cache.store_file(folder, "kernels", ".so", CONTENT), 12345, -1)
    assert user_cache.find_file(folder, "kernels", ".so") is None
    os.chown(folder, 12345, -1)
    assert user_cache.close_folder(folder) != folder
