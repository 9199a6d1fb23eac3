"""The protocol of executors, which try the plans of a search, and the executor that works in this process."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from gatesearch.errors import UserError
from gatesearch.plan import GatePlan
from gatesearch.search.evaluation import Evaluated

Evaluate = Callable[[GatePlan], Evaluated]
# Errors of the machine, such as a full disk. Every other plan would fail with the same error, so the search stops. A
# resumed search tries the plan again.
MACHINE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE}
MAX_CAUSE_CHARACTERS = 500


class Proposal(NamedTuple):
    """A plan to try, and the number with which the executor reports the plan's outcome."""

    number: int
    plan: GatePlan


@dataclass(frozen=True, slots=True)
class Failure:
    """The outcome of a plan that could not be evaluated.

    Args:
        cause: the reason, in one line.
    """

    cause: str


def try_plan(evaluate: Evaluate, plan: GatePlan) -> Evaluated | Failure:
    """Evaluate a plan; return its outcome, or a failure if the evaluation raises an error.

    Raises:
        OSError: one of :data:`MACHINE_ERRORS`.
    """
    try:
        return evaluate(plan)
    except Exception as error:
        if is_machine_error(error):
            raise
        return Failure(describe_error(error))


def is_machine_error(error: BaseException) -> bool:
    """Return whether an error is one of :data:`MACHINE_ERRORS`."""
    return isinstance(error, OSError) and error.errno in MACHINE_ERRORS


def describe_error(error: BaseException) -> str:
    """Return an error in one line: its type and message, and where it was raised.

    >>> describe_error(MemoryError("no room"))
    'MemoryError: no room'
    """
    text = " ".join(str(error).split())[:MAX_CAUSE_CHARACTERS]
    if isinstance(error, UserError):
        return text
    last = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" ({Path(last[0].filename).name}:{last[0].lineno})" if last else ""
    return f"{type(error).__name__}: {text}{place}" if text else f"{type(error).__name__}{place}"


class ProposalSource(Protocol):
    """The methods of a running search that an executor calls; see :class:`gatesearch.search.session.Session`."""

    @property
    def busy(self) -> int:
        """Number of plans that are being tried."""

    @property
    def has_sampler(self) -> bool:
        """Whether the settings of the search name a sampler."""

    def ask(self) -> Proposal | None:
        """Return a plan to try, or None.

        If a trial runs, None means: ask again when the trial ends. If no trial runs, None means: the search is over.
        """

    def tell(self, number: int, outcome: Evaluated | Failure) -> object:
        """Store the outcome of a plan, or the reason of its failure."""

    def prune(self, number: int) -> object:
        """Store that a scheduler stopped the training of a plan."""


class Executor(Protocol):
    """Tries the plans of a search, one or several at a time."""

    def run(self, session: ProposalSource) -> None:
        """Ask for plans, try each with :func:`try_plan` and tell its outcome, until the search is over."""


class InProcess:
    """Tries one plan after the other, in this process."""

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate

    def run(self, session: ProposalSource) -> None:
        """Try every plan that the search proposes."""
        while (proposal := session.ask()) is not None:
            session.tell(proposal.number, try_plan(self._evaluate, proposal.plan))
