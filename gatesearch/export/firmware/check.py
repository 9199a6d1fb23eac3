"""Builds a firmware folder on this host, and plays its golden vectors.

Golden vectors are a stretch of sound, and the decision of the Python runtime at each of its hops.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from gatesearch.errors import UserError
from gatesearch.kernels.build import BuildError, Compiler

CHECK_TIMEOUT_S = 300


class NotRunError(UserError):
    """The check cannot run on this host; nothing is known about the firmware."""


def check_firmware(folder: Path) -> str:
    """Build the firmware with the host's compiler, play the golden vectors, and return the last line of the output.

    Raises:
        NotRunError: this host has no make or no C compiler, or the check takes too long.
        UserError: a source does not compile, or the firmware decides otherwise than a golden vector.
    """
    if shutil.which("make") is None:
        raise NotRunError(f"firmware: {folder}: not run on this host: needs make (Debian: make)")
    try:
        compiler = Compiler.find().command
    except BuildError as error:
        raise NotRunError(f"firmware: {folder}: not run on this host: {error}") from None
    try:
        done = subprocess.run(
            ["make", "-s", "check", f"CC={compiler}"],
            cwd=folder,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=CHECK_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise NotRunError(f"firmware: {folder}: make check took more than {CHECK_TIMEOUT_S} s") from None
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    if done.returncode or not lines or not lines[-1].startswith("PASS"):
        lines = [line for line in lines if "FAIL" in line or "error" in line] or lines
        reason = lines[0] if lines else "no output"
        raise UserError(f"firmware: {folder}: make check: {reason}")
    return lines[-1]
