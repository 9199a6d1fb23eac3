"""Rows, page and plot of the ``dsl`` benchmark: an audio codec with a light path for easy windows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from gatesearch._lib.timing import fingerprint
from gatesearch.plan import GatePlan
from gatesearch.report.rows import RESULTS, Row, markdown_table, median_and_range
from results.benchmark import NOT_RUN, Benchmark, Draw, describe_machine
from results.dsl import plot
from results.dsl.measure import DATA_SETS, Outcome

SPLITS = ("train", "validation", "test")


class Figure(NamedTuple):
    """A figure of an outcome.

    Args:
        name: name in the table.
        unit: unit of the figure.
        get: function that returns the figure of an outcome; None if a plan without a switch has no such figure.
        published: the paper's figure; empty if the paper prints none.
        provenance: measured or modelled.
    """

    name: str
    unit: str
    get: Callable[[Outcome], float | None]
    published: str = ""
    provenance: str = "measured"


FIGURES = (
    Figure("light share, validation", "share", lambda o: o["validation_share"]),
    Figure("light share, test", "share", lambda o: o["best"]["light_share"], "up to 0.80"),
    Figure("fidelity, codec without gates", "share", lambda o: o["baseline"]["quality"]),
    Figure("fidelity, all heavy", "share", lambda o: o["best"]["quality_all_heavy"]),
    Figure("fidelity, routed by the switch", "share", lambda o: o["best"]["quality"]),
    Figure("fidelity, as large a share routed at random", "share", lambda o: o["best"]["quality_random"]),
    Figure("fidelity, all light", "share", lambda o: o["best"]["quality_all_light"]),
    Figure("signal to noise, routed", "dB", lambda o: o["best"]["snr_db"]),
    Figure("heavy over light, MACs", "x", lambda o: o["best"].get("heavy_over_light_macs"), "12.3"),
    Figure("heavy over light, parameters", "x", lambda o: o["best"].get("heavy_over_light_params"), "20.9"),
    Figure("heavy over light with the part that always runs, MACs", "x", lambda o: _heavy_over_light(o["best"])),
    Figure("resident parameters", "", lambda o: o["best"].get("resident_params")),
    Figure("parameters without gates", "", lambda o: o["baseline"]["params"]),
    Figure(
        "share saved of the MACs a window", "share", lambda o: _saved(o["best"]["expected_macs"], o["baseline"]["macs"])
    ),
    Figure("share saved of the time a window on this host", "share", lambda o: _time_saved(o), "0.265"),
    Figure(
        "share saved of the energy of computation a window",
        "share",
        lambda o: _saved(o["compute_uj"], o["ungated_compute_uj"]),
        "0.214",
        "modelled",
    ),
    Figure(
        "share saved of the energy a window, with idle power and sensor",
        "share",
        lambda o: _saved(o["best"]["expected_energy_uj"], o["baseline"]["energy_uj"]),
        "0.214",
        "modelled",
    ),
    Figure("bundle and model, same path", "share", lambda o: o["parity"]["gate_agreement"]),
    Figure("bundle and model, output over error", "dB", lambda o: o["parity"]["output_snr_db"]),
)
PICKED = "a plan with a light path was picked"
# For each requirement on the switch (bar), a function that returns by how much an outcome meets it; above 0 means met.
BARS: Mapping[str, Callable[[Outcome], float]] = {
    "light share on validation within .02 of the target": lambda o: (
        0.02 - abs(o["validation_share"] - GatePlan.from_dict(o["plan"]).gates[0]["share"])
    ),
    "routed better than as large a share at random, test": lambda o: o["best"]["quality"] - o["best"]["quality_random"],
    "routed better than all light, test": lambda o: o["best"]["quality"] - o["best"]["quality_all_light"],
    "routed no better than all heavy, test": lambda o: o["best"]["quality_all_heavy"] - o["best"]["quality"],
    "share of the time saved on this host": lambda o: _time_saved(o),
}


class Codec(Benchmark):
    """The benchmark of an audio codec with a light path.

    Args:
        command: command that repeats the benchmark.
        outcomes: outcomes by data set and seed.
        results: folder of all benchmarks.
    """

    name = "dsl"

    def __init__(self, command: str, outcomes: Mapping[str, Mapping[int, Outcome]], results: Path = RESULTS) -> None:
        super().__init__(command, results)
        self.outcomes = outcomes

    def rows(self) -> list[Row]:
        """Return every figure of every data set, with a value for each seed."""
        rows = []
        for name, by_seed in self.outcomes.items():
            data = next(iter(by_seed.values()))["data"]
            protocol = f"{data['source']}; test split, hard cascade, thresholds of the exported int8 artifacts"
            command = "; ".join(_commands(by_seed))
            for figure in FIGURES:
                values = {seed: value for seed, o in by_seed.items() if (value := figure.get(o)) is not None}
                if values:
                    rows.append(
                        Row.summarise(
                            f"{name}: {figure.name}",
                            {seed: float(value) for seed, value in values.items()},
                            figure.unit,
                            target=figure.published or None,
                            provenance=figure.provenance,
                            protocol=protocol,
                            command=command,
                        )
                    )
        return rows

    def page(self) -> Mapping[str, object]:
        """Return the values to fill into the template, mostly tables."""
        commands = [command for by_seed in self.outcomes.values() for command in _commands(by_seed)]
        first = {name: next(iter(by_seed.values())) for name, by_seed in self.outcomes.items()}
        return {
            "commands": list(dict.fromkeys(commands)),
            "figures": self._figure_table(),
            "bars": self._bar_table(),
            "plans": self._plan_table(),
            "sources": {name: outcome["data"]["source"] for name, outcome in first.items()},
            "machine": describe_machine(fingerprint()),
        }

    def plots(self) -> Mapping[str, Draw]:
        """Return the plot of fidelity against light share."""
        return {"dsl.png": lambda path: plot.draw(self.outcomes, path)}

    def _figure_table(self) -> str:
        names = [*self.outcomes, *(name for name in DATA_SETS if name not in self.outcomes)]
        lines = []
        for figure in FIGURES:
            cells = [_cell(self.outcomes.get(name, {}), figure) for name in names]
            lines.append([figure.name, figure.provenance, *cells, re.sub(r"\b0\.", ".", figure.published)])
        heads = []
        for name in names:
            seeds = len(self.outcomes.get(name, {}))
            heads.append(f"{name}, {seeds} seed{'s' * (seeds > 1)}" if seeds else name)
        return markdown_table(["", "provenance", *heads, "published"], lines)

    def _bar_table(self) -> str:
        named = [(name, seed) for name, by_seed in self.outcomes.items() for seed in by_seed]
        lines = [[bar, *(_passed(bar, self.outcomes[name][seed]) for name, seed in named)] for bar in (PICKED, *BARS)]
        return markdown_table(["", *(f"{name}, seed {seed}" for name, seed in named)], lines)

    def _plan_table(self) -> str:
        lines = []
        for name, by_seed in self.outcomes.items():
            for seed, outcome in by_seed.items():
                plan = str(GatePlan.from_dict(outcome["plan"]))
                windows = ", ".join(str(outcome["data"][split]) for split in SPLITS)
                lines.append([name, str(seed), plan, windows, f"{outcome['seconds']:.0f}"])
        return markdown_table(["data", "seed", "plan", "windows: train, validation, test", "run, s"], lines)


def _passed(bar: str, outcome: Outcome) -> str:
    """Return a table's cell: whether an outcome meets a bar, and by how much; "-" for a plan without a light path."""
    gated = "light_macs" in outcome["best"]
    if bar == PICKED:
        return "yes" if gated else "**no**"
    if not gated:
        return "-"
    margin = BARS[bar](outcome)
    return f"{'yes' if margin > 0 else '**no**'}, {margin:+.4f}"


def _cell(by_seed: Mapping[int, Outcome], figure: Figure) -> str:
    values = [value for outcome in by_seed.values() if (value := figure.get(outcome)) is not None]
    if not values:
        return "no light path" if by_seed else NOT_RUN
    form = {"share": "{:.3f}", "": "{:,.0f}"}.get(figure.unit, "{:.1f}")
    unit = "" if figure.unit in ("share", "") else f" {figure.unit}"
    return median_and_range(values, form) + unit


def _heavy_over_light(best: Outcome) -> float | None:
    """Return the MACs of a window on the heavy path divided by those on the light path, layers before both included."""
    if "light_macs" not in best:
        return None
    return float((best["shared_macs"] + best["heavy_macs"]) / (best["shared_macs"] + best["light_macs"]))


def _time_saved(outcome: Outcome) -> float:
    return _saved(outcome["streaming"]["gated_us"], outcome["streaming"]["ungated_us"])


def _saved(gated: float, ungated: float) -> float:
    return 1 - gated / ungated


def _commands(by_seed: Mapping[int, Outcome]) -> list[str]:
    """Return the commands that made these outcomes, each once."""
    return list(dict.fromkeys(outcome["command"] for outcome in by_seed.values()))
