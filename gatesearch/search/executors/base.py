"""What a search needs of an executor, which tries its plans, and the simplest one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from gatesearch.errors import UserError
from gatesearch.plan import GatePlan
from gatesearch.search.evaluation import Evaluated

Evaluate = Callable[[GatePlan], Evaluated]


class Proposal(NamedTuple):
    """A plan to try, and the number under which to tell its outcome."""

    number: int
    plan: GatePlan


class TrialFailed(UserError):
    """A plan could not be tried: its worker died again and again."""


class ProposalSource(Protocol):
    """What an executor needs of a search under way; see :class:`gatesearch.search.session.Session`."""

    @property
    def busy(self) -> int:
        """How many plans are being tried."""

    def ask(self) -> Proposal | None:
        """Return a plan to try; None if there is none until another trial ends."""

    def tell(self, number: int, outcome: Evaluated) -> object:
        """Keep the outcome of a plan."""

    def prune(self, number: int) -> object:
        """Keep that the training of a plan was stopped."""


class Executor(Protocol):
    """Tries the plans of a search, several at a time where it can."""

    def run(self, session: ProposalSource) -> None:
        """Ask, try and tell until the search proposes nothing more; errors of ``evaluate`` are raised here."""


class InProcess:
    """Tries one plan after the other, in this process."""

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate

    def run(self, session: ProposalSource) -> None:
        """Try every plan that the search proposes."""
        while (proposal := session.ask()) is not None:
            session.tell(proposal.number, self._evaluate(proposal.plan))
