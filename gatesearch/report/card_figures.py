"""The figures of a model card: quality, and power with its provenance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from gatesearch._lib.format import format_percent, format_si

NOT_YET = "The run has not measured this yet. `gatesearch report RUN` writes this page again."
Row = Callable[[Mapping[str, Any]], str]
"""A function that writes one figure of a row from the figures of a column."""


def describe_quality(summary: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield the paragraphs about quality: figures beside those of the ungated network, and parity."""
    if summary is None:
        yield NOT_YET
        return
    stream = summary.get("stream")
    if stream is not None:
        yield (
            f"On a test stream of {stream['hours']:g} h with {stream['events']} events, at a threshold for "
            f"{stream['operating_point']['fa_per_hour_wanted']:g} false accepts an hour on the validation stream:"
        )
        ungated = (summary.get("rivals") or {}).get("ungated_hops")
        columns = {"this bundle": stream["picked"]}
        if ungated is not None:
            columns["ungated network"] = ungated
        yield _table(columns, STREAM_ROWS)
    else:
        yield "On the test split, with gates that stop windows:"
        yield _table({"this bundle": summary["best"], "ungated network": summary["baseline"]}, WINDOW_ROWS)
    parity = summary["export"]["parity"]
    agreement = f"The files decide {parity['gate_agreement']:.2%} of {parity['samples']:,} test windows"
    yield f"{agreement} at the same gate as the trained model."


def _interval(figures: Mapping[str, Any], key: str, percent: bool) -> str | None:
    low, high = figures.get(key) or (None, None)
    if low is None or high is None:
        return None
    return f" ({low:.1%} to {high:.1%})" if percent else f" ({low:.2g} to {high:.2g})"


STREAM_ROWS: Mapping[str, Row] = {
    "missed events (95 % interval)": lambda f: f"{f['miss_rate']:.1%}{_interval(f, 'miss_interval', True) or ''}",
    "false accepts an hour (95 % interval)": lambda f: (
        f"{f['fa_per_hour']:.3g}{_interval(f, 'fa_per_hour_interval', False) or ''}"
    ),
    "median latency after the end of an event": lambda f: _write(f.get("latency_p50_ms"), " ms"),
    "latency of 95 % of detections, at most": lambda f: _write(f.get("latency_p95_ms"), " ms"),
    "mean power": lambda f: _write(f.get("mean_power_mw"), " mW"),
}
WINDOW_ROWS: Mapping[str, Row] = {
    "accuracy": lambda f: format_percent(f.get("accuracy")),
    "precision": lambda f: format_percent(f.get("precision")),
    "recall": lambda f: format_percent(f.get("recall")),
    "SI-SDR": lambda f: _write(f.get("si_sdr_db"), " dB"),
    "energy of a window": lambda f: _write_micro(f.get("expected_energy_uj", f.get("energy_uj")), "J"),
    "latency of a window": lambda f: _write_micro(f.get("expected_latency_us", f.get("latency_us")), "s"),
}


def _table(columns: Mapping[str, Mapping[str, Any]], rows: Mapping[str, Row]) -> str:
    lines = [f"| | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for label, write in rows.items():
        cells = [write(figures) for figures in columns.values()]
        if any(cell != "-" for cell in cells):
            lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def describe_power(
    manifest: Mapping[str, Any], summary: Mapping[str, Any] | None, constants: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Yield the paragraphs about device and power: cores, power by part, and the provenance of constants."""
    cores = ", ".join(dict.fromkeys(stage["core"] for stage in manifest["stages"]))
    yield f"Device profile: {manifest['device']}. The plan runs on: {cores}."
    if summary is None:
        yield NOT_YET
        return
    parts = ((summary.get("stream") or {}).get("picked") or {}).get("parts") or ()
    if parts:
        rows = ["| part | core | open share | mean power |", "|---|---|---|---|"]
        rows += [
            f"| {part['name']} | {part['core']} | {part['open_share']:.1%} | {_write(part.get('power_mw'), ' mW')} |"
            for part in parts
        ]
        yield "\n".join(rows)
    counts = Counter(each["provenance"] for each in constants)
    if counts:
        listed = ", ".join(f"{count} {name}" for name, count in counts.most_common())
        yield (
            "Power and energy are computed from the device profile; no board was measured for this page. Provenance "
            f"of its {sum(counts.values())} constants: {listed}. `gatesearch devices {manifest['device']}` shows the "
            "source of each."
        )


def _write(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.3g}{unit}"


def _write_micro(value: float | None, unit: str) -> str:
    return "-" if value is None else format_si(value * 1e-6, unit)
