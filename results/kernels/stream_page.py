"""Rows, targets and page section of the ``kernels`` benchmark for gated keyword spotters on streams."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gatesearch.report.rows import Row, markdown_table, median_and_range
from gatesearch.runtime.stream_timing import REPEATS
from results.benchmark import meets_target
from results.kernels import streams
from results.kernels.spotters import SPOTTERS
from results.whole_runs import SPEECH_PROTOCOL

Measurements = Mapping[str, Mapping[int, Mapping[str, Any]]]  # by spotter and seed
SLACK_TARGET = "<= 1.3"
MAIN = f"{streams.OTHER:g}"
FRONT_ENDS = {"torch": "MFCC in torch", "kernels": "MFCC by kernels"}
for frames in streams.FRAMES:
    FRONT_ENDS[f"{frames}"] = f"{frames} new frame{'s' * (frames > 1)}"
UNITS = {"gated_us": "us", "ungated_us": "us", "invoke_us": "us", "always_us": "us", "gain": "x", "bound": "x"}


class StreamTarget(NamedTuple):
    """A ratio with a target.

    Args:
        name: name of the ratio.
        target: comparison such as ``>= 6``.
        by_seed: ratio by seed.
        bound: the largest ratio that the remaining work allows; None if there is no such bound.
    """

    name: str
    target: str
    by_seed: Mapping[int, float]
    bound: float | None = None

    @property
    def met(self) -> bool:
        """Whether the median over seeds meets the target; False without a measurement."""
        return bool(self.by_seed) and meets_target(self.target, statistics.median(self.by_seed.values()))


def targets(measurements: Measurements) -> list[StreamTarget]:
    """Return the targets of each spotter: one for its gain, and one for its bound divided by its gain."""
    pairs = []
    for name, spotter in SPOTTERS.items():
        by_seed = {seed: measurement["streams"][MAIN] for seed, measurement in measurements.get(name, {}).items()}
        gain = {seed: stream["gain"] for seed, stream in by_seed.items()}
        slack = {seed: stream["bound"] / stream["gain"] for seed, stream in by_seed.items()}
        bound = statistics.median(stream["bound"] for stream in by_seed.values()) if by_seed else None
        pairs += [
            StreamTarget(f"ungated .tflite over gated stream, {name}", f">= {spotter.min_gain:g}", gain, bound),
            StreamTarget(f"bound over gain, {name}", SLACK_TARGET, slack),
        ]
    return pairs


def rows(measurements: Measurements, synthetic: bool, command: str) -> list[Row]:
    """Return the rows of all figures of the streams."""
    protocol = (
        f"{SPEECH_PROTOCOL[synthetic]}, test clips; {streams.WINDOWS} windows one by one, one thread, "
        f"{streams.ROUNDS} rounds in turn with the ungated program, each window's least time; front end excluded "
        "unless it is named"
    )
    figures: list[Row] = []

    def add(name: str, values: Mapping[int, float], unit: str, target: str | None = None) -> None:
        rest = {"target": target, "provenance": "measured", "protocol": protocol, "command": command}
        figures.append(Row.summarise(name, values, unit, **rest))

    for target in targets(measurements):
        if target.by_seed:
            add(target.name, target.by_seed, "x", target.target)
    for name, by_seed in measurements.items():
        for key, label in FRONT_ENDS.items():
            front = {seed: measurement["frontend_us"][key] for seed, measurement in by_seed.items()}
            add(f"stream, {name}: front end, {label}", front, "us")
        for other, mix in _mixes(by_seed).items():
            title = f"stream, {name}, {float(other):.0%} other words"
            for key, unit in UNITS.items():
                add(f"{title}: {key.removesuffix('_us')}", {seed: stream[key] for seed, stream in mix.items()}, unit)
            for k in range(len(next(iter(mix.values()))["reach"])):
                later = {seed: stream["later_us"][k] for seed, stream in mix.items()}
                add(f"{title}: stage {k + 1}", later, "us")
                add(f"{title}: reach of stage {k + 1}", {s: stream["reach"][k] for s, stream in mix.items()}, "share")
    return figures


def page(measurements: Measurements, synthetic: bool) -> Mapping[str, object]:
    """Return the values of the template ``stream.md.j2``."""
    return {
        "spotters": [_describe(name, by_seed) for name, by_seed in measurements.items()],
        "positive": f"{100 * streams.POSITIVE:.0f}",
        "other": f"{100 * streams.OTHER:.0f}",
        "windows": streams.WINDOWS,
        "rounds": streams.ROUNDS,
        "repeats": REPEATS,
        "frames": " or ".join(map(str, streams.FRAMES)),
        "speech": SPEECH_PROTOCOL[synthetic],
        "table": _table(measurements),
    }


def _mixes(by_seed: Mapping[int, Mapping[str, Any]]) -> dict[str, dict[int, Mapping[str, Any]]]:
    """Return the measured streams of a spotter, by the share of other words and by seed."""
    mixes: dict[str, dict[int, Mapping[str, Any]]] = {}
    for seed, measurement in by_seed.items():
        for other, stream in measurement["streams"].items():
            mixes.setdefault(other, {})[seed] = stream
    return dict(sorted(mixes.items(), key=lambda item: float(item[0])))


def _table(measurements: Measurements) -> str:
    lines = []
    for name, by_seed in measurements.items():
        for other, mix in _mixes(by_seed).items():
            for seed, stream in mix.items():
                gain = f"**{stream['gain']:.1f}**" if other == MAIN else f"{stream['gain']:.1f}"
                fronts = [by_seed[seed]["frontend_us"][key] for key in FRONT_ENDS]
                lines.append(
                    [
                        name,
                        str(seed),
                        f"{100 * float(other):.0f}",
                        f"{stream['invoke_us']:.1f}",
                        f"{stream['always_us']:.2f}",
                        " + ".join(f"{us:.1f}" for us in stream["later_us"]),
                        ", ".join(f"{100 * share:.1f}" for share in stream["reach"]),
                        f"{stream['gated_us']:.2f}",
                        gain,
                        f"{stream['bound']:.1f}",
                        f"{stream['bound'] / stream['gain']:.2f}",
                        *(f"{(stream['invoke_us'] + us) / (stream['gated_us'] + us):.1f}" for us in fronts),
                    ]
                )
    columns = ["spotter", "seed", "other words, %", "ungated", "always", "rest", "reach, %", "gated", "gain", "bound"]
    return markdown_table([*columns, "bound / gain", *(f"with {label}" for label in FRONT_ENDS.values())], lines)


def _describe(name: str, by_seed: Mapping[int, Mapping[str, Any]]) -> Mapping[str, object]:
    """Return the page's values for a spotter: medians over seeds, with ranges in brackets."""
    first = next(iter(by_seed.values()))

    def summary(get: Callable[[Mapping[str, Any]], float], digits: int = 1) -> str:
        return median_and_range([get(measurement) for measurement in by_seed.values()], f"{{:.{digits}f}}")

    def latency(key: str, digits: int) -> str:
        return summary(lambda measurement: measurement["streams"][MAIN]["latency_us"][key], digits)

    stopped = [f"{summary(lambda m, k=kind: 100 * m['stopped'][k], 0)} % of {kind}" for kind in first["stopped"]]  # type: ignore[misc]
    fronts = []
    for key, label in FRONT_ENDS.items():
        fronts.append(f"{summary(lambda m, k=key: m['frontend_us'][k])} us ({label})")  # type: ignore[misc]
    without = [(seed, m["without"]) for seed, m in by_seed.items() if m["without"]]
    return {
        "name": name,
        "macs": f"{first['macs'] / 1e6:.1f}",
        "about": SPOTTERS[name].about,
        "plans": "; ".join(f"`{measurement['plan']}`" for measurement in by_seed.values()),
        "native": ", ".join(f"in its interpreter ({why}) of seed {seed}" for seed, why in without) or "by kernels",
        "test": first["test"],
        "ungated_accuracy": summary(lambda m: 100 * m["accuracy"][0]),
        "accuracy": summary(lambda m: 100 * m["accuracy"][1]),
        "recall": summary(lambda m: 100 * m["gate_recall"]),
        "stopped": ", ".join(stopped),
        "stopped_us": latency("stopped, median", 1),
        "stopped_p99_us": latency("stopped, 99 %", 1),
        "passed_us": latency("passed, median", 0),
        "passed_p99_us": latency("passed, 99 %", 0),
        "front_ends": ", ".join(fronts),
    }
