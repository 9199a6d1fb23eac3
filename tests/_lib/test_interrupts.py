"""Tests that a signal ends a run, even if other code swallows or replaces KeyboardInterrupt."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest

from gatesearch._lib import console, interrupts


class InterruptIgnorer:
    """An object that sends a signal to its own process when Python deletes it.

    Python ignores exceptions that a destructor raises.
    """

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_a_signal_interrupts_at_once(number: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interrupts.as_exceptions():
        os.kill(os.getpid(), number)
        raise AssertionError("goes on")
    assert signal.getsignal(number) is before and not interrupts.pending()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_a_signal_that_was_swallowed_interrupts_the_next_step(number: int) -> None:
    reached = []
    with pytest.raises(KeyboardInterrupt), interrupts.as_exceptions(), console.progress(3, "steps") as steps:
        InterruptIgnorer(number)
        reached.append("here")
        steps.advance()
        reached.append("not here")
    assert reached == ["here"]


def test_a_signal_that_was_swallowed_interrupts_at_the_end_at_the_latest() -> None:
    with pytest.raises(KeyboardInterrupt), interrupts.as_exceptions(), contextlib.suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)


def test_an_error_raised_in_place_of_an_interrupt_is_an_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt) as error, interrupts.as_exceptions():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError("a compiler failed") from None
    assert isinstance(error.value.__cause__, RuntimeError)


def test_an_error_without_a_signal_is_raised_unchanged() -> None:
    with pytest.raises(RuntimeError), interrupts.as_exceptions():
        raise RuntimeError
