"""Rows, page and plot of the ``latency`` benchmark, which compares predicted with measured latencies."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from gatesearch.plan import GatePlan
from gatesearch.report.rows import RESULTS, Row, markdown_table
from results.benchmark import NOT_RUN, Benchmark, Draw, describe_verdict, list_versions
from results.latency import models, plot
from results.latency.steps import Measurement

NEAR = 0.10  # largest error, as a share of the measured time, that counts as near
LEAST_NEAR, MOST_MEDIAN = 0.95, 0.03  # targets: share of models that are near, and median error


class Latency(Benchmark):
    """The benchmark of predicted and measured latency of gated models.

    Args:
        command: command that repeats the benchmark.
        models: held-out models, each with its plan, its measured and its predicted latency.
        tables: size of the latency table of each backbone.
        count: number of models that each backbone should have; the page shows missing models as not run.
        results: folder of all benchmarks.
    """

    name = "latency"

    def __init__(
        self,
        command: str,
        models: Sequence[Measurement],
        tables: Mapping[str, Measurement],
        count: int,
        results: Path = RESULTS,
    ) -> None:
        super().__init__(command, results)
        self.models, self.tables, self.count = models, tables, count

    def rows(self) -> list[Row]:
        """Return figures of the errors of the predictions."""
        if not self.models:
            return []
        protocol = (
            f"{len(self.models)} random held-out gated models run end to end through their bundles at batch 1 on one "
            "thread, every gate letting the window pass; median over undisturbed calls; predicted by the tables alone"
        )

        def row(name: str, value: float, target: str | None = None) -> Row:
            return self.row(name, {0: value}, "share", protocol=protocol, target=target)

        return [
            row("models within +-10 %", self._near(), f">= {LEAST_NEAR:g}"),
            row("median error", self._median(), f"<= {MOST_MEDIAN:g}"),
            row("largest error", max(self._errors())),
        ]

    def page(self) -> Mapping[str, object]:
        """Return the values to fill into the template, mostly tables."""
        if not self.models:
            return {"models": 0}
        far = [model for model in self.models if abs(error(model)) > NEAR]
        names = Counter(model["backbone"] for model in far)
        return {
            "models": len(self.models),
            "backbones": len({model["backbone"] for model in self.models}),
            "planned": self.count * len(models.BACKBONES),
            "reached": self._reached_table(),
            "far": {
                "count": len(far),
                "backbones": ", ".join(f"{name} ({count})" for name, count in names.items()),
                "cuts": sum(any(gate["kind"] == "gc" for gate in model["plan"]["gates"]) for model in far),
                "slower": sum(error(model) < 0 for model in far),
            },
            "by_backbone": self._backbone_table(),
            "every_model": markdown_table(
                ["backbone", "plan", "measured", "predicted", "error"], [_model_line(model) for model in self.models]
            ),
            "machine": self.models[0]["machine"],
            "versions": list_versions(self.models[0]["machine"]),
        }

    def plots(self) -> Mapping[str, Draw]:
        """Return the plot of predicted against measured latencies."""
        return {"latency.png": lambda path: plot.draw(self.models, path)} if self.models else {}

    def _errors(self) -> list[float]:
        return [abs(error(model)) for model in self.models]

    def _near(self) -> float:
        return sum(e <= NEAR for e in self._errors()) / len(self.models)

    def _median(self) -> float:
        return statistics.median(self._errors())

    def _reached_table(self) -> str:
        near, median, largest = self._near(), self._median(), max(self._errors())
        lines = [
            [
                "within +-10 %",
                f"{near:.1%}",
                f"at least {100 * LEAST_NEAR:g} %",
                describe_verdict(near >= LEAST_NEAR),
            ],
            [
                "median error",
                f"{median:.1%}",
                f"at most {100 * MOST_MEDIAN:g} %",
                describe_verdict(median <= MOST_MEDIAN),
            ],
            ["largest error", f"{largest:.1%}", "", ""],
        ]
        return markdown_table(["", "reached", "target", ""], lines)

    def _backbone_table(self) -> str:
        heads = ["backbone", "models", "measured", "within +-10 %", "median error", "bias"]
        return markdown_table([*heads, "timings", "noisy", "seconds"], [self._line(name) for name in models.BACKBONES])

    def _line(self, name: str) -> list[str]:
        size = self.tables.get(name)
        table = [NOT_RUN] * 3
        if size is not None:
            table = [str(size["timings"]), str(size["noisy"]), f"{size['seconds']:.1f}"]
        own = [model for model in self.models if model["backbone"] == name]
        if not own:
            return [name, f"0 of {self.count}", *[NOT_RUN] * 4, *table]
        errors, times = [error(model) for model in own], [model["measured_us"] for model in own]
        return [
            name,
            f"{len(own)} of {self.count}",
            f"{min(times):.0f} to {max(times):.0f}",
            f"{sum(abs(e) <= NEAR for e in errors)} of {len(own)}",
            f"{statistics.median(map(abs, errors)):.1%}",
            f"{statistics.median(errors):+.1%}",
            *table,
        ]


def error(model: Measurement) -> float:
    """Return the error of a prediction: (predicted - measured) / measured."""
    return float(model["predicted_us"] / model["measured_us"] - 1)


def _model_line(model: Measurement) -> list[str]:
    plan = str(GatePlan.from_dict(model["plan"])).replace("|", ";").replace(", recall=0.99", "")
    noisy = " (noisy)" if model["noisy"] else ""
    return [
        model["backbone"],
        plan.removesuffix(" on " + " > ".join(model["plan"]["cores"])),
        f"{model['measured_us']:.0f}{noisy}",
        f"{model['predicted_us']:.0f}",
        f"{error(model):+.1%}",
    ]
