"""Tests of the documentation site: links between pages, docstrings, the navigation, and the tutorials."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

pytest.importorskip("mkdocs")

ROOT = Path(__file__).parents[1]
TUTORIALS = ROOT / "docs" / "tutorials"
LONG = {"choice", "own_network", "wake_word"}  # whole runs


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


KNOWN = {"limits.md", "results/kws/README.md", "results/README.md", "CHANGELOG.md", "tutorials/images.md"}


@pytest.mark.parametrize(
    ("place", "link", "turned"),
    [
        ("docs/limits.md", "[kws](../results/kws/README.md#a)", "[kws](results/kws/README.md#a)"),
        ("docs/tutorials/images.md", "[all](../../results/README.md)", "[all](../results/README.md)"),
        ("results/kws/README.md", "[limits](../../docs/limits.md)", "[limits](../../limits.md)"),
        ("CHANGELOG.md", "[limits](docs/limits.md)", "[limits](limits.md)"),
        ("docs/limits.md", "[run](../gatesearch/api.py)", "[run](https://here/gatesearch/api.py)"),
        ("docs/limits.md", "[out](https://arxiv.org)", "[out](https://arxiv.org)"),
        ("docs/limits.md", "[none](../results/none.md)", "[none](../results/none.md)"),
        ("docs/limits.md", "`x[k](../results/README.md)`", "`x[k](../results/README.md)`"),
        ("docs/limits.md", "    y[k](../results/README.md)", "    y[k](../results/README.md)"),
    ],
)
def test_links_hold_in_the_site(place: str, link: str, turned: str) -> None:
    assert load("site_pages").turn_links(link, place, KNOWN, "https://here") == turned


def test_docstrings_become_markdown() -> None:
    turn = load("site_docstrings").to_markdown
    assert turn("See :class:`a.B`. Such as::\n\n    b") == "See `a.B`. Such as:\n\n    b"
    assert turn("Add.\n\n>>> 1 + 1\n2\n\nEnd.") == "Add.\n\n```pycon\n>>> 1 + 1\n2\n```\n\nEnd."


def test_the_navigation_names_every_tutorial_and_every_tutorial_has_a_page() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    scripts = {path.stem for path in TUTORIALS.glob("*.py")}
    pages = {path.stem for path in TUTORIALS.glob("*.md")}
    assert scripts <= pages
    assert all(f"tutorials/{page}.md" in text for page in pages)


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "api" / "search" / "index.html").is_file()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(path.stem, marks=[pytest.mark.slow] if path.stem in LONG else [])
        for path in sorted(TUTORIALS.glob("*.py"))
    ],
)
def test_a_tutorial_runs(name: str, tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, str(TUTORIALS / f"{name}.py")], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "gatesearch: " not in done.stderr  # the command line prints an error without raising it


def test_recipes_and_profiles_of_tutorials_are_yaml() -> None:
    for path in TUTORIALS.glob("*.yaml"):
        assert yaml.safe_load(path.read_text())["schema_version"] == 1
