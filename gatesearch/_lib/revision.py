"""The revision of gatesearch's code, to store with the figures that it made."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

from gatesearch._lib.version import __version__


@cache
def revision() -> str:
    """Return the version and, where the package lies in a git checkout of its own, the commit.

    >>> revision().startswith("gatesearch ")
    True
    """
    return describe(Path(__file__).parent)


def describe(package: Path) -> str:
    """Return the version, and of a package's folder in a checkout the commit and whether files differ from it.

    What lies in a checkout of another project, such as a virtual environment in somebody's repository, is not of it.
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
