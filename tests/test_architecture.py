"""Tests that docs/architecture.md lists each package, and that tests mirror the package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import gatesearch

PACKAGE = Path(gatesearch.__file__).parent
ROOT = Path(__file__).parents[1]
ENTRY = ("__init__", "__main__")  # modules that only pass calls on


def list_parts() -> list[str]:
    """Return the names of the packages and modules of gatesearch, packages with a slash at the end."""
    modules = [path.name for path in PACKAGE.glob("*.py") if path.stem not in ENTRY]
    return sorted(modules + [f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")])


def test_the_table_of_layers_lists_each_part_of_the_package_once():
    page = (ROOT / "docs/architecture.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    listed = [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert sorted(listed) == list_parts()


@pytest.mark.parametrize("part", list_parts())
def test_each_part_has_tests_in_the_same_place(part: str):
    mirror = ROOT / "tests" / (part.removesuffix("/") if part.endswith("/") else f"test_{part}")
    assert mirror.exists()
