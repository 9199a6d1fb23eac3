"""Write a file whole or not at all, so that a reader never meets half of one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of the system that no other path or file would mend."""


def write_whole(path: Path, content: str | bytes) -> Path:
    """Replace what a file holds in one step; an error leaves the old file as it is.

    Args:
        path: of the file; its folder is made where it is not there.
        content: bytes, or text, which is written as UTF-8.

    Returns:
        The path of the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return path
