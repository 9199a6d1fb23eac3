"""Rows and page of the ``hmd_runs`` benchmark: whole runs of two recipes that compress recurrent networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from gatesearch._lib.format import format_duration
from gatesearch._lib.timing import fingerprint
from gatesearch.plan import GatePlan
from gatesearch.report.rows import RESULTS, Row, markdown_table
from results.benchmark import Benchmark, describe_machine
from results.hmd.latency import describe_runtime
from results.hmd_runs.measure import Outcome


class Figure(NamedTuple):
    """A figure of an outcome.

    Args:
        name: name of the figure in tables.
        unit: unit of the figure.
        ungated: function that returns the figure of the ungated network.
        planned: function that returns the figure of the picked plan.
    """

    name: str
    unit: str
    ungated: Callable[[Outcome], float]
    planned: Callable[[Outcome], float]


FIGURES = (
    Figure("accuracy, test", "share", lambda o: o["baseline"]["accuracy"], lambda o: o["best"]["accuracy"]),
    Figure("accuracy, validation", "share", lambda o: o["validation"]["ungated"], lambda o: o["validation"]["plan"]),
    Figure("MACs a window", "", lambda o: o["baseline"]["macs"], lambda o: o["best"]["expected_macs"]),
    Figure(
        "a step by the kernels of this project, best",
        "us",
        lambda o: o["step"]["ungated"]["minimum_us"],
        lambda o: o["step"]["plan"]["minimum_us"],
    ),
    Figure(
        "a step by the kernels of this project, median",
        "us",
        lambda o: o["step"]["ungated"]["median_us"],
        lambda o: o["step"]["plan"]["median_us"],
    ),
    Figure(
        "a window, ungated by LiteRT in float, the plan by its bundle",
        "us",
        lambda o: o["streaming"]["ungated_us"],
        lambda o: o["streaming"]["gated_us"],
    ),
)
FORMS = {"share": "{:.3f}", "us": "{:.1f}", "": "{:,.0f}"}


class RecurrentRecipes(Benchmark):
    """The benchmark of two recipes that compress recurrent networks.

    Args:
        command: command that repeats the benchmark.
        outcomes: outcomes by the name of the run.
        results: folder of all benchmarks.
    """

    name = "hmd_runs"

    def __init__(self, command: str, outcomes: Mapping[str, Outcome], results: Path = RESULTS) -> None:
        super().__init__(command, results)
        self.outcomes = outcomes

    def rows(self) -> list[Row]:
        """Return every figure of every run, for the ungated network and for the plan."""
        rows = []
        for name, outcome in self.outcomes.items():
            seed, recipe = int(name.rpartition("-")[2]), outcome["recipe"]
            for figure in FIGURES:
                for network, get in (("ungated", figure.ungated), ("plan", figure.planned)):
                    rows.append(
                        Row.summarise(
                            f"{recipe}: {figure.name}, {network}",
                            {seed: float(get(outcome))},
                            figure.unit,
                            target=None,
                            provenance="measured",
                            protocol=f"{outcome['data']['source']}; {recipe}, seed {seed}",
                            command=outcome["command"],
                        )
                    )
        return rows

    def page(self) -> Mapping[str, object]:
        """Return the values to fill into the template, with a section for each run."""
        runtimes = [outcome["runtime"] for outcome in self.outcomes.values()]
        return {
            "commands": list(dict.fromkeys(outcome["command"] for outcome in self.outcomes.values())),
            "runtimes": sorted({describe_runtime(runtime["name"], runtime["kernels"]) for runtime in runtimes}),
            "sections": [_section(name, outcome) for name, outcome in self.outcomes.items()],
            "machine": describe_machine(fingerprint()),
        }


def _section(name: str, outcome: Outcome) -> Mapping[str, object]:
    validation = outcome["validation"]
    drop = validation["ungated"] - validation["plan"]
    lines = []
    for figure in FIGURES:
        label = f"{figure.name}, us" if figure.unit == "us" else figure.name
        form = FORMS[figure.unit]
        lines.append([label, form.format(figure.ungated(outcome)), form.format(figure.planned(outcome))])
    front = [[plan["plan"], f"{plan['accuracy']:.3f}", f"{plan['us']:.0f}"] for plan in outcome["front"]]
    return {
        "name": name,
        "recipe": outcome["recipe"],
        "data": outcome["data"],
        "tried": outcome["search"]["evaluated"],
        "space": f"{outcome['space']:,}",
        "plan": GatePlan.from_dict(outcome["best"]["plan"]),
        "within_bar": drop <= outcome["bar"],
        "drop": f"{drop:+.3f}",
        "bar": outcome["bar"],
        "agreement": f"{outcome['parity']['prediction_agreement']:.2%}",
        "duration": format_duration(outcome["seconds"]),
        "figures": markdown_table(["", "ungated", "plan"], lines),
        "front": markdown_table(["on the front of the search", "accuracy, validation", "us a window, priced"], front),
    }
