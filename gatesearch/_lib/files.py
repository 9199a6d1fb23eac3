"""Writes files completely or not at all, and detects damaged files by a digest."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

from gatesearch.errors import UserError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of the operating system that say that the disk is full."""

_SEAL = b"gatesearch sha256 "
_SEAL_BYTES = len(_SEAL) + 64 + 1  # the digest in hexadecimal and a line end


class DamagedFile(UserError):
    """A file whose content differs from what was written.

    Args:
        path: the path of the file.
        reason: what is wrong with the file, as text that follows "PATH: ".
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


def write_whole(path: Path, content: str | bytes) -> Path:
    """Replace the content of a file in one step; an error or a kill leaves the old file as it is.

    The new file is written beside the target and then renamed, because a rename is one step only within a file system.
    File and folder are flushed to the disk, so that a power cut leaves either the old file or the new one.

    Args:
        path: the path of the file; its folder is created if necessary.
        content: bytes, or text, which is written as UTF-8.

    Returns:
        The path of the file.

    Raises:
        UserError: there is a folder at the path of the file, or a file at the path of its folder.
        OSError: the disk is full, or the folder cannot be written.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        _flush(part)
        part.replace(path)
        _flush(path.parent)
    except BaseException as error:
        if part.parent.is_dir():
            part.unlink(missing_ok=True)
        if isinstance(error, IsADirectoryError | NotADirectoryError | FileExistsError):
            obstacle = path if path.is_dir() else next(each for each in path.parents if each.exists())
            kind = "folder" if obstacle.is_dir() else "file"
            raise UserError(f"{path}: cannot be written: the {kind} {obstacle} is in its way; move it away") from None
        raise
    return path


def read_bytes(path: Path) -> bytes | None:
    """Return the content of a file, or None if there is no file.

    Raises:
        DamagedFile: there is something other than a file at the path.
        UserError: the file cannot be read.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise DamagedFile(path, "is no file")  # reading a pipe could wait for ever
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except (IsADirectoryError, NotADirectoryError):
        raise DamagedFile(path, "is a folder, not a file" if path.is_dir() else "lies under a file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None


def set_aside(path: Path) -> Path:
    """Rename a file to NAME.damaged, or to NAME.damaged-2 and so on if that name exists; return the new path."""
    number = 1
    while True:
        aside = path.with_name(f"{path.name}.damaged{f'-{number}' if number > 1 else ''}")
        if not os.path.lexists(aside):
            return path.rename(aside)
        number += 1


def digest(content: bytes) -> str:
    """Return the sha256 of some bytes in hexadecimal.

    >>> digest(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(content).hexdigest()


def seal(payload: bytes) -> bytes:
    """Return bytes with a first line that holds their digest, which :func:`unseal` checks.

    >>> unseal(Path("x"), seal(b"weights"))
    b'weights'
    """
    return _SEAL + digest(payload).encode() + b"\n" + payload


def unseal(path: Path, content: bytes) -> bytes:
    """Return the bytes behind the line that :func:`seal` adds; bytes without such a line are returned as they are.

    Raises:
        DamagedFile: the bytes differ from those that were sealed.
    """
    if not content.startswith(_SEAL):
        return content
    head, payload = content[:_SEAL_BYTES], content[_SEAL_BYTES:]
    if head != seal(payload)[:_SEAL_BYTES]:
        raise DamagedFile(path, "is damaged: its sha256 is not the one in its first line")
    return payload


def _flush(path: Path) -> None:
    """Wait until a file or a folder is written to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
