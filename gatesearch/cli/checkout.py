"""Finds and runs benchmarks, which lie in the folder ``results`` of a checkout, not in the package."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from gatesearch.errors import UserError

BENCHMARKS = "results"


def run_benchmark(name: str, arguments: Sequence[str]) -> None:
    """Run a benchmark of the checkout that holds this package, or else of the checkout in the current folder.

    Raises:
        UserError: neither folder is a checkout, there is no such benchmark, or an argument is wrong.
    """
    root = find_checkout((Path(__file__).resolve().parents[2], Path.cwd()))
    if root is None:
        raise UserError(
            f"bench {name}: benchmarks need a checkout of gatesearch: run this in one, or install it with "
            "`pip install -e`"
        )
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    importlib.import_module(BENCHMARKS).run(name, arguments)


def find_checkout(folders: Sequence[Path]) -> Path | None:
    """Return the first of some folders that holds both this package and the benchmarks; None if there is none."""
    for folder in folders:
        if (folder / BENCHMARKS / "__init__.py").is_file() and (folder / "gatesearch" / "__init__.py").is_file():
            return folder
    return None
