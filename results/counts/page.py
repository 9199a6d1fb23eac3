"""Rows and page of the ``counts`` benchmark: multiply-accumulates of networks and memory of programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatesearch._lib.timing import fingerprint
from gatesearch.report.rows import RESULTS, Row, markdown_table
from results.benchmark import Benchmark, describe_machine

LARGEST_ERROR = 0.1  # target for estimates of memory, as a share of the measured memory
# Programs to which no constant of the estimates was fitted.
UNFITTED = ("regnetx_002", "semnasnet_050", "ghostnet_050", "mobilenetv4_conv_small_035")
COUNT_PROTOCOL = "one sample, evaluation mode, attention operator by operator; untrained weights"
PLAN_PROTOCOL = "int8 .tflite of untrained weights; arena of TFLM's 64-bit build; estimates without a program"


class Counts(Benchmark):
    """The benchmark of multiply-accumulates and memory.

    Args:
        command: command that repeats the benchmark.
        counts: counts of multiply-accumulates by network; see :func:`results.counts.measure.count`.
        plans: measured and estimated memory of the program, by network.
        results: folder of all benchmarks.
    """

    name = "counts"

    def __init__(
        self,
        command: str,
        counts: Mapping[str, Mapping[str, Any]],
        plans: Mapping[str, Mapping[str, Any]],
        results: Path = RESULTS,
    ) -> None:
        super().__init__(command, results)
        self.counts, self.plans = counts, plans

    def rows(self) -> list[Row]:
        """Return a row for each count and each estimate."""
        rows = [
            self.row(
                f"error of MACs, {name}",
                {0: float(abs(row["macs"] - row["reference"]))},
                "MAC",
                protocol=COUNT_PROTOCOL,
                target="<= 0",
            )
            for name, row in self.counts.items()
        ]
        for name, row in self.plans.items():
            for size in ("file", "arena"):
                error = _error(row, size)
                target = f"<= {LARGEST_ERROR}"
                rows.append(
                    self.row(f"error of {size}, {name}", {0: error}, "share", protocol=PLAN_PROTOCOL, target=target)
                )
        return rows

    def page(self) -> Mapping[str, object]:
        """Return the values to fill into the template: tables and totals."""
        counts = [
            [name, f"{row['macs']:,}", f"{row['reference']:,}", row["by"], "" if _agrees(row) else "**no**"]
            for name, row in self.counts.items()
        ]
        plans = [
            [name, *(cell for size in ("file", "arena") for cell in _cells(row, size))]
            for name, row in self.plans.items()
        ]
        return {
            "counts": markdown_table(["network", "MACs", "reference", "by", "equal"], counts),
            "plans": markdown_table(["network", "file, B", "estimate", "off", "arena, B", "estimate", "off"], plans),
            "counted": len(self.counts),
            "equal": sum(map(_agrees, self.counts.values())),
            "planned": len(self.plans),
            "unfitted": ", ".join(UNFITTED),
            "close": sum(
                all(_error(row, size) <= LARGEST_ERROR for size in ("file", "arena")) for row in self.plans.values()
            ),
            "machine": describe_machine(fingerprint()),
        }


def _agrees(row: Mapping[str, Any]) -> bool:
    return bool(row["macs"] == row["reference"] and not row["unknown"])


def _error(row: Mapping[str, Any], size: str) -> float:
    return float(abs(row[f"{size}_estimate"] / row[size] - 1))


def _cells(row: Mapping[str, Any], size: str) -> list[str]:
    off = row[f"{size}_estimate"] / row[size] - 1
    return [f"{row[size]:,}", f"{row[f'{size}_estimate']:,}", f"{off:+.1%}"]
