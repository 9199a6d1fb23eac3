"""Finds the revision of gatesearch's code, which is stored with the figures that the code computes."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

from gatesearch._lib.version import __version__


@cache
def revision() -> str:
    """Return the version of gatesearch and, if the package is in its own git checkout, the commit.

    >>> revision().startswith("gatesearch ")
    True
    """
    return describe(Path(__file__).parent)


def describe(package: Path) -> str:
    """Return the version; in a git checkout also the commit, and whether files differ from the commit.

    If the package only lies in the checkout of another project, such as in a virtual environment, no commit is given.
    """
    name = f"gatesearch {__version__}"
    tracked = _git(package, "ls-files", "--error-unmatch", "__init__.py")
    commit = _git(package, "rev-parse", "--short", "HEAD")
    if tracked is None or commit is None:
        return name
    changed = _git(package, "status", "--porcelain", "--untracked-files=no", ".")
    return f"{name}, commit {commit}{' with changes' if changed else ''}"


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
