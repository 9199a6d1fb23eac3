"""Interrupts that nothing can swallow: SIGINT and SIGTERM raise KeyboardInterrupt now and, if need be, again later.

Python raises an interrupt wherever the main thread happens to be. In a destructor or in a callback of a C++ library it
is printed and dropped, and Lightning looks at SIGTERM between batches alone. A flag remembers the signal, and
:func:`check` raises wherever a run can stop.
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
    """Turn SIGINT and SIGTERM into KeyboardInterrupt within the context; in the main thread alone.

    Raises:
        KeyboardInterrupt: a signal came, at the latest when the context ends.
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
        raise KeyboardInterrupt from error  # what an interrupt breaks is no error of its own
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _pending = False


def pending() -> bool:
    """Say whether a signal came within :func:`as_exceptions`, whatever became of its exception."""
    return _pending


def check() -> None:
    """Raise KeyboardInterrupt where a signal came: a call of it is a place where a run can stop."""
    if _pending and threading.current_thread() is threading.main_thread():
        raise KeyboardInterrupt


def _interrupt(signum: int, frame: object) -> None:
    global _pending
    _pending = True
    raise KeyboardInterrupt
