"""Tests of the description of the code's revision, which stands beside measured figures."""

from __future__ import annotations

import subprocess
from pathlib import Path

from gatesearch._lib.revision import describe
from gatesearch._lib.version import __version__


def _git(folder: Path, *arguments: str) -> None:
    about = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *about, *arguments], cwd=folder, check=True, capture_output=True)


def _package(folder: Path) -> Path:
    package = folder / "package"
    package.mkdir()
    (package / "__init__.py").write_text("a = 1\n")
    _git(folder, "init", "-q")
    return package


def test_outside_a_checkout_the_revision_is_the_version(tmp_path: Path) -> None:
    assert describe(tmp_path) == f"gatesearch {__version__}"


def test_an_installed_package_does_not_belong_to_the_checkout_around_it(tmp_path: Path) -> None:
    package = _package(tmp_path)
    (tmp_path / "other").write_text("")
    _git(tmp_path, "add", "other")
    _git(tmp_path, "commit", "-q", "-m", "other")
    assert describe(package) == f"gatesearch {__version__}"


def test_the_revision_names_the_commit_and_uncommitted_changes(tmp_path: Path) -> None:
    package = _package(tmp_path)
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-q", "-m", "first")
    clean = describe(package)
    assert ", commit " in clean and not clean.endswith("with changes")
    (package / "__init__.py").write_text("a = 2\n")
    assert describe(package) == f"{clean} with changes"
