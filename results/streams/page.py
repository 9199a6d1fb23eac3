"""Rows, page and plot of the ``streams`` benchmark: a gated wake-word detector compared with other methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gatesearch._lib.format import format_duration
from gatesearch._lib.timing import fingerprint
from gatesearch.plan import GatePlan
from gatesearch.report.figures import write_det_png
from gatesearch.report.rows import RESULTS, Row, markdown_table
from gatesearch.report.stream_names import NAMES
from results.benchmark import NOT_RUN, Benchmark, Draw, describe_machine
from results.streams.measure import RATES, Outcome, misses_at
from results.streams.parts import PART_TARGETS, part_figures

UNGATED = "ungated_hops"
Get = Callable[[Outcome], "float | None"]


class Streams(Benchmark):
    """The benchmark of the wake-word detector.

    Args:
        command: command that repeats the benchmark, if no outcome of the page's own device states one.
        outcomes: outcomes by the name of the run; if there are runs on recordings, runs on synthetic scenes are
            omitted.
        results: folder of all benchmarks.
    """

    name = "streams"

    def __init__(self, command: str, outcomes: Mapping[str, Outcome], results: Path = RESULTS) -> None:
        own = {name: each for name, each in outcomes.items() if name.startswith(("real-", "synthetic-"))}
        real = {name: each for name, each in own.items() if name.startswith("real-")}
        self.outcomes = real or own
        self.on_parts = {name: each for name, each in outcomes.items() if name not in own}
        super().__init__(next((each["command"] for each in self.outcomes.values()), command), results)

    def rows(self) -> list[Row]:
        """Return the figures of the runs on the page's own device, then those of runs on other devices."""
        return [*self._own_rows(), *self._rows_of_parts()]

    def _own_rows(self) -> list[Row]:
        """Return the figures of the picked plan, of the ungated detector and of each other method."""
        if not self.outcomes:
            return []
        hours = max(outcome["stream"]["hours"] for outcome in self.outcomes.values())
        protocol = (
            f"test scenes of {hours:g} h; thresholds, smoothing and hold set on the validation scene; "
            f"{'synthetic speech' if self._is_synthetic else 'recordings, none in two splits; words split by speaker'}"
        )
        rows = []
        for name, get, unit, target, provenance in self._figures():
            values = {int(run.rpartition("-")[2]): get(outcome) for run, outcome in self.outcomes.items()}
            present = {seed: value for seed, value in values.items() if value is not None}
            if present:
                rows.append(self.row(name, present, unit, protocol=protocol, provenance=provenance, target=target))
        return rows

    def _rows_of_parts(self) -> list[Row]:
        """Return the figures of runs on other devices, each with the command of its run."""
        rows = []
        for run, outcome in self.on_parts.items():
            device, _, seed = run.rpartition("-")
            data = "synthetic speech" if outcome["data"]["synthetic"] else "recordings"
            protocol = f"test scene of {outcome['stream']['hours']:g} h, {data}; see section {run} of the page"
            for name, unit, provenance, value in part_figures(outcome):
                rows.append(
                    self.row(
                        f"{device}, {name}",
                        {int(seed): value},
                        unit,
                        protocol=protocol,
                        provenance=provenance,
                        target=PART_TARGETS.get((device, name)),
                        command=outcome["command"],
                    )
                )
        return rows

    @property
    def _is_synthetic(self) -> bool:
        return any(outcome["data"]["synthetic"] for outcome in (self.outcomes or self.on_parts).values())

    def _figures(self) -> list[tuple[str, Get, str, str | None, str]]:
        """Return name, reader, unit, target and provenance of each figure."""
        figures: list[tuple[str, Get, str, str | None, str]] = [
            (
                f"ungated, misses at {rate:g} false accepts an hour on the test scene's own curve",
                _curve_reader(rate),
                "share",
                target,
                "measured",
            )
            for rate, target in zip(RATES, ("<= 0.12", "<= 0.06"), strict=True)
        ]
        figures += [
            ("picked minus ungated, misses", _miss_rise, "share", "<= 0.01", "measured"),
            ("multiplications a hop, picked over ungated", _work_ratio, "ratio", "<= 0.12", "derived"),
            ("multiplications a hop, perfect gates over ungated", _perfect_work_ratio, "ratio", None, "derived"),
            ("perfect gates at the picked sites: mean power", _perfect_power, "mW", None, "modelled"),
            ("listening on this machine, best plan", _listening("gated_s"), "CPU s an hour", None, "measured"),
            ("listening, ungated by hops", _listening("hops_s"), "CPU s an hour", None, "measured"),
            (
                "listening, ungated, whole windows every 20 ms",
                _listening("short_hop_windows_s"),
                "CPU s an hour",
                None,
                "derived",
            ),
            (
                "listening, whole windows every 20 ms over best plan",
                _listening("windows_ratio"),
                "ratio",
                ">= 60",
                "derived",
            ),
            ("listening, ungated by hops over best plan", _listening("hops_ratio"), "ratio", ">= 3", "measured"),
        ]
        rivals = dict.fromkeys(name for outcome in self.outcomes.values() for name in outcome["stream"]["rivals"])
        for name in ("picked", *rivals):
            title = NAMES.get(name, name)
            figures += [
                (f"{title}: misses", _reader(name, "miss_rate"), "share", None, "measured"),
                (f"{title}: false accepts an hour", _reader(name, "fa_per_hour"), "1/h", None, "measured"),
                (f"{title}: mean power", _reader(name, "mean_power_mw"), "mW", None, "modelled"),
            ]
            if name != "picked":
                target = ">= 1.5" if name == "level_gate" else None
                figures.append((f"mean power, {title} over picked", _power_gain(name), "ratio", target, "modelled"))
        return figures

    def page(self) -> Mapping[str, object]:
        """Return the values to fill into the template, with a section for each run."""
        return {
            "synthetic": self._is_synthetic,
            "sections": [_section(name, outcome) for name, outcome in self.outcomes.items()],
            "parts": [{**_section(name, each), "command": each["command"]} for name, each in self.on_parts.items()],
            "figures": markdown_table(
                ["figure", "median", "each seed", "target"],
                [
                    [
                        row.name,
                        f"{row.value:.3g} {row.unit}",
                        ", ".join(f"{value:.3g}" for value in row.values),
                        row.target or "",
                    ]
                    for row in self._own_rows()
                ],
            ),
            "machine": describe_machine(fingerprint()),
        }

    def plots(self) -> Mapping[str, Draw]:
        """Return the DET curves of the first run."""
        first = next(iter((self.outcomes or self.on_parts).values()))
        return {"det.png": lambda path: write_det_png(first, path)}


def _entries(outcome: Outcome) -> dict[str, Any]:
    return {"picked": outcome["stream"]["picked"], **outcome["stream"]["rivals"]}


def _curve_reader(rate: float) -> Get:
    return lambda outcome: misses_at(outcome["stream"]["curves"][UNGATED], rate)


def _reader(name: str, key: str) -> Get:
    return lambda outcome: _entries(outcome).get(name, {}).get(key)


def _power_gain(name: str) -> Get:
    def read(outcome: Outcome) -> float | None:
        rival = _reader(name, "mean_power_mw")(outcome)
        return None if rival is None else rival / outcome["stream"]["picked"]["mean_power_mw"]

    return read


def _miss_rise(outcome: Outcome) -> float | None:
    ungated = _reader(UNGATED, "miss_rate")(outcome)
    return None if ungated is None else outcome["stream"]["picked"]["miss_rate"] - ungated


def _listening(key: str) -> Get:
    def read(outcome: Outcome) -> float | None:
        return (outcome.get("listening") or {}).get(key)

    return read


def _work_ratio(outcome: Outcome) -> float | None:
    return _over_ungated(outcome, outcome["stream"]["picked"])


def _perfect_work_ratio(outcome: Outcome) -> float | None:
    return _over_ungated(outcome, outcome["stream"]["picked"].get("perfect_gates", {}))


def _perfect_power(outcome: Outcome) -> float | None:
    value: float | None = outcome["stream"]["picked"].get("perfect_gates", {}).get("mean_power_mw")
    return value


def _over_ungated(outcome: Outcome, figures: Mapping[str, Any]) -> float | None:
    ungated, own = _reader(UNGATED, "macs_per_hop")(outcome), figures.get("macs_per_hop")
    return None if ungated is None or own is None else own / ungated


def _section(name: str, outcome: Outcome) -> Mapping[str, object]:
    stream = outcome["stream"]
    columns = ["", "missed", "false accepts an hour", "latency, ms", "mean power, mW", "last stage runs", "openings/h"]
    lines = []
    for key, entry in _entries(outcome).items():
        last = [part for part in entry["parts"] if part["name"].startswith("stage")][-1]
        lines.append(
            [
                NAMES.get(key, key),
                f"{entry['miss_rate']:.1%}",
                f"{entry['fa_per_hour']:.3g}",
                NOT_RUN if entry["latency_p50_ms"] is None else f"{entry['latency_p50_ms']:.0f}",
                f"{entry['mean_power_mw']:.4g}",
                f"{last['open_share']:.1%}",
                f"{last['openings_per_hour']:,.0f}",
            ]
        )
    kinds = list(stream["picked"]["stop_by_background"])
    stops = [
        [NAMES.get(key, key), *(f"{entry['stop_by_background'].get(kind, 0.0):.0%}" for kind in kinds)]
        for key, entry in _entries(outcome).items()
    ]
    return {
        "name": name,
        "plan": GatePlan.from_dict(outcome["best"]["plan"]),
        "hours": f"{stream['hours']:g}",
        "events": stream["events"],
        "wish": f"{stream['operating_point']['fa_per_hour_wanted']:g}",
        "doubt": stream.get("doubt"),
        "signal_gate": stream["picked"].get("signal_gate"),
        "missing": stream.get("missing_rivals", {}),
        "tried": outcome["search"]["evaluated"],
        "duration": format_duration(outcome["seconds"]),
        "revision": outcome["revision"],
        "table": markdown_table(columns, lines),
        "stops": markdown_table(["stopped, by background", *kinds], stops),
        "warnings": outcome.get("warnings", []),
    }
