"""Runs targets of a firmware folder's Makefile."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

TIMEOUT_S = 300


class Outcome(NamedTuple):
    """The end of a call of make.

    Args:
        lines: the lines of its output that are not empty; those of errors come last.
        failed: whether make ended with an error.
    """

    lines: list[str]
    failed: bool

    @property
    def reason(self) -> str:
        """The line that says best why a target failed."""
        named = [line for line in self.lines if "FAIL" in line or "error" in line]
        return next(iter(named or self.lines), "no output")


def make(folder: Path, *arguments: str) -> Outcome | None:
    """Run ``make -s`` with arguments in a folder; None if it takes more than :data:`TIMEOUT_S`."""
    try:
        done = subprocess.run(
            ["make", "-s", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return None
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return Outcome(lines, bool(done.returncode))
