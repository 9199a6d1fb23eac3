"""What a search needs of whatever tries its plans, and the simplest that does."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from gatesearch.errors import UserError
from gatesearch.plan import GatePlan
from gatesearch.search.outcome import Evaluated

Evaluate = Callable[[GatePlan], Evaluated]


class Asked(NamedTuple):
    """A plan to try, and the number under which to tell what came of it."""

    number: int
    plan: GatePlan


class TrialFailed(UserError):
    """A plan could not be tried: its worker died again and again."""


class Executor(Protocol):
    """Tries up to ``workers`` plans at a time. A context: at its end nothing is left running."""

    workers: int

    def submit(self, asked: Asked) -> None:
        """Begin to try a plan; never called with ``workers`` of them under way."""

    def wait(self) -> tuple[int, Evaluated]:
        """Return the number of a plan that ended and what came of it; whatever ``evaluate`` raised is raised here."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Here:
    """Tries one plan after the other, in this process."""

    workers = 1

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate
        self._asked: Asked | None = None

    def submit(self, asked: Asked) -> None:
        """Note the plan; it is tried by :meth:`wait`."""
        self._asked = asked

    def wait(self) -> tuple[int, Evaluated]:
        """Try the plan."""
        assert self._asked is not None
        (number, plan), self._asked = self._asked, None
        return number, self._evaluate(plan)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass
