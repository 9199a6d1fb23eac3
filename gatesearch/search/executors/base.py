"""What a search needs of whatever tries its plans, and the simplest that does."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from gatesearch.errors import UserError
from gatesearch.plan import GatePlan
from gatesearch.search.evaluation import Evaluated

Evaluate = Callable[..., Evaluated]  # of a plan, and of the epoch after which to stop where the search halves


class Asked(NamedTuple):
    """A plan to try, and the number under which to tell what came of it.

    Where ``until`` is given, what is told is how the plan stands after that epoch; the same number may then be asked
    for again, to be trained on.
    """

    number: int
    plan: GatePlan
    until: int | None = None

    def by(self, evaluate: Evaluate) -> Evaluated:
        """Return what came of it."""
        return evaluate(self.plan) if self.until is None else evaluate(self.plan, self.until)


class TrialFailed(UserError):
    """A plan could not be tried: its worker died again and again."""


class Asking(Protocol):
    """What an executor needs of a search under way; see :class:`gatesearch.search.engine.Session`."""

    @property
    def busy(self) -> int:
        """How many plans are being tried."""

    def ask(self) -> Asked | None:
        """Return a plan to try; None where none is wanted, at least until another has ended."""

    def tell(self, number: int, found: Evaluated) -> object:
        """Keep what came of a plan."""

    def prune(self, number: int) -> object:
        """Keep that a plan was given up half-way."""


class Executor(Protocol):
    """Tries the plans of a search, several at a time where it can."""

    def drive(self, session: Asking) -> None:
        """Ask, try and tell until the search wants nothing more; whatever ``evaluate`` raises is raised here."""


class Here:
    """Tries one plan after the other, in this process."""

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate

    def drive(self, session: Asking) -> None:
        """Try every plan that the search asks for."""
        while (asked := session.ask()) is not None:
            session.tell(asked.number, asked.by(self._evaluate))
