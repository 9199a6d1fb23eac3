"""Stores files in the user's cache folder; a file that another user or program changed is not used.

Compiled kernels run in this process, and cached tables affect the result of a search. So the folder belongs to the user
and is closed to others (mode 0700), and a file's name holds the SHA-256 of its content. A file that is truncated,
changed or owned by another user is not used; its content is computed again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import tempfile
from pathlib import Path

from gatesearch._lib import console
from gatesearch._lib.files import write_whole

DIGEST_CHARACTERS = 32


def find_folder(name: str) -> Path:
    """Return a folder of the user's cache; if it is not the user's own, a temporary folder for this process."""
    import platformdirs

    return close_folder(Path(platformdirs.user_cache_dir("gatesearch")) / name)


def close_folder(folder: Path) -> Path:
    """Create a folder if it does not exist, and close it to other users.

    Returns:
        The folder. If it cannot be the user's own, a temporary folder, after a warning.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.lstat()
        is_own = stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid()
        if is_own and stat.S_IMODE(about.st_mode) != 0o700:
            folder.chmod(0o700)
        if (fault := find_fault(folder)) is not None:
            return _temporary_folder(folder, fault)
    except OSError as error:
        return _temporary_folder(folder, error.strerror or type(error).__name__)
    return folder


def find_fault(folder: Path) -> str | None:
    """Return why an existing folder cannot hold this user's cache; None if it can.

    Raises:
        OSError: the folder does not exist, or cannot be looked at.
    """
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode):
        return "is a link"
    if about.st_uid != os.geteuid():
        return "belongs to another user"
    if not os.access(folder, os.W_OK | os.X_OK):
        return "cannot be written"
    return None


@functools.cache
def _temporary_folder(folder: Path, reason: str) -> Path:
    console.warn(f"cache {folder}: {reason}; a temporary folder takes its place in this process")
    return Path(tempfile.mkdtemp(prefix="gatesearch-"))


def find_file(folder: Path, stem: str, suffix: str) -> Path | None:
    """Return the path of a cached file; None if there is none, or if it is damaged.

    A damaged file is removed, after a warning.

    Args:
        folder: a folder that :func:`close_folder` returned.
        stem: the file's name before the digest.
        suffix: the file's name behind the digest.
    """
    for path in sorted(folder.glob(f"{stem}.*{suffix}")):
        reason = _damage(path, stem, suffix)
        if reason is None:
            return path
        console.warn(f"cache {path}: {reason}; it is removed and built again")
        with contextlib.suppress(OSError):  # a folder cannot be unlinked, so it stays
            path.unlink()
    return None


def read_file(folder: Path, stem: str, suffix: str) -> bytes | None:
    """Return the content of a cached file; None if there is none, or if it is damaged. See :func:`find_file`."""
    path = find_file(folder, stem, suffix)
    return None if path is None else path.read_bytes()


def store_file(folder: Path, stem: str, suffix: str, content: bytes) -> Path:
    """Write a cached file for :func:`find_file`, and return its path."""
    return write_whole(folder / _name(stem, suffix, content), content)


def _damage(path: Path, stem: str, suffix: str) -> str | None:
    """Return the reason why a cached file is not used; None if it can be used."""
    about = path.lstat()
    if not stat.S_ISREG(about.st_mode):
        return "is no regular file"
    if about.st_uid != os.geteuid():
        return "belongs to another user"
    if path.name != _name(stem, suffix, path.read_bytes()):
        return "is damaged"
    return None


def _name(stem: str, suffix: str, content: bytes) -> str:
    return f"{stem}.{hashlib.sha256(content).hexdigest()[:DIGEST_CHARACTERS]}{suffix}"
