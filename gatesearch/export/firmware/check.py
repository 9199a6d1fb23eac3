"""Builds a firmware folder on this host, and plays its golden vectors.

Golden vectors are a stretch of sound, and the decision of the Python runtime at each of its hops.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from gatesearch.errors import UserError
from gatesearch.export.firmware.make import TIMEOUT_S, make
from gatesearch.kernels.build import BuildError, Compiler


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
    outcome = make(folder, "check", f"CC={compiler}")
    if outcome is None:
        raise NotRunError(f"firmware: {folder}: make check took more than {TIMEOUT_S} s")
    if outcome.failed or not outcome.lines or not outcome.lines[-1].startswith("PASS"):
        raise UserError(f"firmware: {folder}: make check: {outcome.reason}")
    return outcome.lines[-1]
