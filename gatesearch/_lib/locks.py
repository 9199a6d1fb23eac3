"""Locks a file for one process; the lock ends with the process, even if the process is killed."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from gatesearch.errors import UserError


def lock(file: IO[Any], label: str, describe_refusal: Callable[[], str]) -> None:
    """Lock an open file until it is closed; the file system removes the lock of a process that dies.

    Args:
        file: the open file.
        label: name of the file in errors.
        describe_refusal: function that returns the error's text if another process holds the lock.

    Raises:
        UserError: another process holds the lock, or the file system does not support locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(describe_refusal()) from None
    except OSError as error:
        raise UserError(
            f"{label}: this file system does not support locks ({error.strerror}); use a database or another disk"
        ) from None


@contextmanager
def lock_with_owner(path: Path, label: str) -> Iterator[None]:
    """Hold a lock on a file and write into the file which process holds the lock.

    Raises:
        UserError: another process holds the lock; the message names its id and its host.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = path.open("a", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}; move away what is there") from None
    with opened as file:
        lock(file, label, lambda: f"{label}: {_describe_owner(path)} works on it; let it end, or stop it")
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        file.flush()
        yield


def _describe_owner(path: Path) -> str:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        return f"process {owner['pid']} on {owner['host']}"
    except (OSError, ValueError, KeyError, TypeError):  # the owner has not written the file yet
        return "another process"
