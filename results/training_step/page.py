"""Rows and page of the ``training_step`` benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatesearch.report.rows import RESULTS, Row, markdown_table
from results.benchmark import Benchmark, describe_machine, describe_verdict, meets_target
from results.training_step.measure import BATCH, EPOCHS, STEPS

TARGET = "<= 1.15"  # largest time of a step, in times of the loop written by hand
WAYS = {"trainer": "gatesearch's trainer", "loop": "loop written by hand"}


class TrainingStep(Benchmark):
    """The benchmark of a training step.

    Args:
        command: command that repeats the benchmark.
        times: milliseconds of processor time of a step by network and way, as :func:`.measure.measure` returns them.
        rounds: number of trainings of each network in each way.
        stamp: machine and versions of the measurement.
        results: folder of all benchmarks.
    """

    name = "training_step"

    def __init__(
        self,
        command: str,
        times: Mapping[str, Mapping[str, float]],
        rounds: int,
        stamp: Mapping[str, Any],
        results: Path = RESULTS,
    ) -> None:
        super().__init__(command, results)
        self.times, self.rounds, self.stamp = times, rounds, stamp

    def rows(self) -> list[Row]:
        """Return a row for each time and for each ratio of two times."""
        protocol = (
            f"processor time of one thread, batches of {BATCH}, least of {self.rounds * (EPOCHS - 1)} epochs of "
            f"{STEPS} steps, trainer and loop in turn"
        )
        rows = []
        for network, own in self.times.items():
            rows += [self.row(f"{WAYS[way]}, {network}", {0: own[way]}, "ms", protocol=protocol) for way in WAYS]
            ratio = own["trainer"] / own["loop"]
            rows.append(self.row(f"ratio, {network}", {0: ratio}, "times", protocol=protocol, target=TARGET))
        return rows

    def page(self) -> Mapping[str, object]:
        """Return the values to fill into the template."""
        ratios = {network: own["trainer"] / own["loop"] for network, own in self.times.items()}
        table = [
            [network, *(f"{self.times[network][way]:.1f}" for way in WAYS), f"{ratio:.2f}"]
            for network, ratio in ratios.items()
        ]
        return {
            "table": markdown_table(["network", *(f"{name}, ms" for name in WAYS.values()), "ratio"], table),
            "target": TARGET,
            "verdict": describe_verdict(all(meets_target(TARGET, ratio) for ratio in ratios.values())),
            "batch": BATCH,
            "steps": STEPS,
            "epochs": self.rounds * (EPOCHS - 1),
            "machine": describe_machine(self.stamp),
        }
