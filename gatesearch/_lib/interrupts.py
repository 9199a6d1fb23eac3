"""Stops a run at SIGINT or SIGTERM with KeyboardInterrupt, even if other code swallows the exception.

Python raises KeyboardInterrupt at the main thread's current line. In a destructor or a callback of a C++ library the
exception is printed and lost. Lightning checks for SIGTERM only between batches. So a flag stores the signal, and
:func:`check` raises KeyboardInterrupt again at the places where a run can stop.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_pending = False


@contextmanager
def as_exceptions() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into KeyboardInterrupt within the context; outside the main thread, do nothing.

    Raises:
        KeyboardInterrupt: a signal came. If other code swallowed the exception, the end of the context raises it again.
    """
    global _pending
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _pending = False
    before = {number: signal.signal(number, _interrupt) for number in SIGNALS}
    try:
        yield
        check()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if not _pending:
            raise
        raise KeyboardInterrupt from error  # the error is a consequence of the interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _pending = False


def pending() -> bool:
    """Say whether a signal came within :func:`as_exceptions`, even if its exception was swallowed."""
    return _pending


def check() -> None:
    """Raise KeyboardInterrupt if a signal came; code calls it at the places where a run can stop."""
    if _pending and threading.current_thread() is threading.main_thread():
        raise KeyboardInterrupt


def _interrupt(signum: int, frame: object) -> None:
    global _pending
    _pending = True
    raise KeyboardInterrupt
