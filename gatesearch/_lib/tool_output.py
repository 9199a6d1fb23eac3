"""Captures the output of outside tools, and shows its last lines only if the tool fails."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator

from gatesearch._lib import console

MAX_MESSAGE_LINES = 12

# File descriptors belong to the whole process. Two threads that swap them at the same time would lose a descriptor.
_lock = threading.RLock()


class ToolError(RuntimeError):
    """The failure of an outside tool (converter, quantiser, compiler); the message ends with its last output lines."""


@contextlib.contextmanager
def quiet(what: str) -> Iterator[Callable[[], str]]:
    """Redirect file descriptors 1 and 2 to a temporary file, and yield a function that returns the output so far.

    The redirection captures Python's ``sys.stdout``, C++ logging and progress bars.

    Args:
        what: description of the step, with which the error's message begins.

    Raises:
        ToolError: the block raises; the message has the last lines of the output.

    >>> with quiet("saying hello") as read_output:
    ...     _ = os.write(1, b"hello")
    ...     output = read_output()
    >>> output
    'hello'
    """
    with (
        _lock,
        console.hold_warnings(),
        tempfile.TemporaryFile(buffering=0) as log,
        open(os.dup(log.fileno()), "w", buffering=1, errors="replace") as writer,
    ):

        def read_output() -> str:
            writer.flush()
            # pread does not move the shared file position, at which the tool writes next.
            return os.pread(log.fileno(), os.fstat(log.fileno()).st_size, 0).decode(errors="replace")

        sys.stdout.flush()
        sys.stderr.flush()
        saved = os.dup(1), os.dup(2)
        failure: BaseException | None = None
        try:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            with (
                contextlib.redirect_stdout(writer),
                contextlib.redirect_stderr(writer),
                warnings.catch_warnings(),
            ):
                warnings.simplefilter("ignore")
                yield read_output
        # Command-line tools that run in this process report bad arguments by SystemExit.
        except (Exception, SystemExit) as error:
            failure = error
        finally:
            for descriptor, copy in zip((1, 2), saved, strict=True):
                os.dup2(copy, descriptor)
                os.close(copy)
        if isinstance(failure, OSError) and failure.errno in (errno.ENOSPC, errno.EDQUOT):
            raise failure  # a full disk is not the tool's fault
        if failure is not None:
            raise ToolError(_message(what, failure, read_output())) from failure


def _message(what: str, failure: BaseException, text: str) -> str:
    lines = [line.rstrip() for line in text.splitlines() if line.strip()][-MAX_MESSAGE_LINES:]
    reason = f"{what} failed: {type(failure).__name__}: {failure}".strip()
    return "\n  ".join([reason, *lines])
