"""A trial that sleeps for a known time and needs no core."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from gatesearch.plan import GatePlan
from gatesearch.search.evaluation import Evaluated, Objectives


@dataclass(frozen=True)
class Sleep:
    """Sleeps half to one and a half times ``seconds``, by the plan; notes when and in which process.

    Args:
        seconds: mean length of a trial.
        notes: file of lines: process, begin, end.
    """

    seconds: float
    notes: Path

    def __call__(self, plan: GatePlan) -> Evaluated:
        """Try a plan."""
        began = time.time()
        time.sleep(self.length(plan))
        line = f"{os.getpid()} {began!r} {time.time()!r}\n"
        with self.notes.open("ab", buffering=0) as file:
            file.write(line.encode())
        return make_up(plan)

    def length(self, plan: GatePlan) -> float:
        """Return the seconds that a plan takes."""
        return self.seconds * (0.5 + int(plan.digest, 16) % 1000 / 1000)


def make_up(plan: GatePlan) -> Evaluated:
    """Return made-up objectives that depend on the plan alone."""
    number = int(plan.digest, 16)
    return Evaluated(Objectives(0.5 + number % 50 / 100, 1.0 + len(plan.gates), 2.0 + number % 31), {"made_up": -1.0})
