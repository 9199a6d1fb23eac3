"""Times one case of the ``kernels`` benchmark: a group of calls that take turns.

In each round, calls that measure the processor's limits have their turn, too.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from gatesearch._lib.timing import fingerprint, interleaved
from results.kernels import roofline
from results.kernels.cases import Case

SAMPLES = 5  # timings in a turn


def time_case(case: Case, rounds: int) -> dict[str, Any]:
    """Return the machine, and the times of a case's calls over ``rounds`` rounds, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            calls = case.calls()
            if case.group != roofline.GROUP:
                calls = {**calls, **roofline.calls(roofline.LIMITS_TIMED_WITH_CASES)}
            timings = interleaved(calls, rounds, samples=SAMPLES)
    finally:
        torch.set_num_threads(threads)
    times = {name: dataclasses.asdict(timing) for name, timing in timings.items()}
    return {"machine": fingerprint(), "times": times}


def file_name(case: Case) -> str:
    """Return the name of the file that holds the times of a case."""
    return f"{case.group}-{'-'.join(case.name.replace(',', '').split())}.json"
