"""Forked processes, which tests kill, and their worker processes."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

INTERRUPTED = 130
POLL_S = 0.001


def fork(work: Callable[[], object], log: Path | None = None) -> int:
    """Call ``work`` in a forked process, and return the id of that process.

    Args:
        work: the work. The exit status is 0 after it, 130 after a KeyboardInterrupt, and 1 after any other exception.
        log: the file to which the output of the process is appended; None for the output of the test.
    """
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        if log is not None:
            file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(file, 1)
            os.dup2(file, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        work()
        status = 0
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def wait_for_end(pid: int, timeout_s: float) -> int | None:
    """Wait for a process to end; return its exit status, negative for a signal, or None after ``timeout_s``."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(POLL_S)
    return None


def find_workers(pid: int) -> list[int]:
    """Return the ids of a driver's worker processes, without its other child processes."""
    workers = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if b"spawn_main" in Path(f"/proc/{word}/cmdline").read_bytes():
                workers.append(int(word))
    return workers
