"""Benchmarks: each writes results/NAME.md for people and results/NAME.json for programs, by one command."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from gatesearch.errors import unknown

NAMES = ("cluster", "dsg", "dsl", "hmd", "hmd_runs", "kernels", "kws", "latency", "search", "vit_gc")
BENCHMARKS = {name: f"gatesearch.bench.{name}" for name in NAMES}


def run(name: str, arguments: Sequence[str]) -> None:
    """Run a benchmark.

    Args:
        name: which.
        arguments: ``key=value`` each; what a key means is the benchmark's to say.

    Raises:
        UserError: there is no such benchmark, or an argument is wrong.
    """
    if name not in BENCHMARKS:
        raise unknown("bench", "benchmark", name, BENCHMARKS)
    importlib.import_module(BENCHMARKS[name]).main(list(arguments))
