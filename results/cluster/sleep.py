"""A stand-in for the evaluation of a plan: it sleeps for a set time, and so needs no core."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from gatesearch.plan import GatePlan
from gatesearch.search.evaluation import Evaluated, Objectives


@dataclass(frozen=True)
class Sleep:
    """Sleeps in place of the evaluation of a plan, and writes process, begin and end to a file.

    Args:
        seconds: mean duration of a trial [s]; each plan sleeps for half to one and a half times this mean.
        notes: file that gets a line for each trial: process, begin, end.
    """

    seconds: float
    notes: Path

    def __call__(self, plan: GatePlan) -> Evaluated:
        """Sleep for the duration that belongs to the plan, and return made-up objectives."""
        began = time.time()
        time.sleep(self.length(plan))
        line = f"{os.getpid()} {began!r} {time.time()!r}\n"
        with self.notes.open("ab", buffering=0) as file:
            file.write(line.encode())
        return make_up(plan)

    def length(self, plan: GatePlan) -> float:
        """Return for how many seconds a plan sleeps."""
        return self.seconds * (0.5 + int(plan.digest, 16) % 1000 / 1000)


def make_up(plan: GatePlan) -> Evaluated:
    """Return made-up objectives that depend on the plan alone."""
    number = int(plan.digest, 16)
    return Evaluated(Objectives(0.5 + number % 50 / 100, 1.0 + len(plan.gates), 2.0 + number % 31), {"made_up": -1.0})
