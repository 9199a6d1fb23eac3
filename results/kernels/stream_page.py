"""The section of results/kernels.md on streams, and what was to be reached there."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

from gatesearch.report.rows import Row, markdown_table, median_and_range
from gatesearch.runtime import streaming
from results.kernels import streams
from results.runs import SPEECH_PROTOCOL

Found = Mapping[str, Mapping[int, Mapping[str, Any]]]  # by spotter and seed
SLACK = 1.3
MAIN = f"{streams.OTHER:g}"
FRONTS = {
    "torch": "MFCC in torch",
    "kernels": "MFCC by kernels",
    **{f"{n}": f"{n} new frame{'s' if n > 1 else ''}" for n in streams.FRAMES},
}
KEYS = {"gated_us": "us", "ungated_us": "us", "invoke_us": "us", "always_us": "us", "gain": "x", "bound": "x"}


def promised(found: Found) -> list[tuple[str, str, dict[int, float], bool, float | None]]:
    """Return name, target, figure by seed, whether their median reaches it, and bound of all that was promised."""
    lines = []
    for name, spotter in streams.SPOTTERS.items():
        by_seed = {seed: kept["streams"][MAIN] for seed, kept in found.get(name, {}).items()}
        gain = {seed: at["gain"] for seed, at in by_seed.items()}
        slack = {seed: at["bound"] / at["gain"] for seed, at in by_seed.items()}
        bound = statistics.median(at["bound"] for at in by_seed.values()) if by_seed else None
        fast = bool(gain) and statistics.median(gain.values()) >= spotter.least
        near = bool(slack) and statistics.median(slack.values()) <= SLACK
        lines += [
            (f"ungated .tflite over gated stream, {name}", f"at least {spotter.least:g}", gain, fast, bound),
            (f"bound over gain, {name}", f"at most {SLACK:g}", slack, near, None),
        ]
    return lines


def rows(found: Found, synthetic: bool, command: str) -> list[Row]:
    """Return every figure for programs."""
    protocol = (
        f"{SPEECH_PROTOCOL[synthetic]}, test clips; {streams.WINDOWS} windows one by one, one thread, "
        f"{streams.ROUNDS} rounds in turn with the ungated program, each window's least time; front end excluded "
        "unless it is named"
    )
    rest = {"provenance": "measured", "protocol": protocol, "command": command}
    made = [
        Row.summarise(name, by_seed, "x", target=target, **rest)
        for name, target, by_seed, *_ in promised(found)
        if by_seed
    ]
    for name, by_seed in found.items():
        for key, label in FRONTS.items():
            front = {seed: kept["frontend_us"][key] for seed, kept in by_seed.items()}
            made.append(Row.summarise(f"stream, {name}: front end, {label}", front, "us", target=None, **rest))
        for other, at in _mixes(by_seed).items():
            title = f"stream, {name}, {float(other):.0%} other words"
            for key, unit in KEYS.items():
                values = {seed: value[key] for seed, value in at.items()}
                made.append(Row.summarise(f"{title}: {key.removesuffix('_us')}", values, unit, target=None, **rest))
            for k in range(len(next(iter(at.values()))["reach"])):
                for key, unit in (("later_us", "us"), ("reach", "share")):
                    values = {seed: value[key][k] for seed, value in at.items()}
                    what = f"{title}: stage {k + 1}" if key == "later_us" else f"{title}: reach of stage {k + 1}"
                    made.append(Row.summarise(what, values, unit, target=None, **rest))
    return made


def _mixes(by_seed: Mapping[int, Mapping[str, Any]]) -> dict[str, dict[int, Mapping[str, Any]]]:
    """Return what was measured by share of other words and seed."""
    mixes: dict[str, dict[int, Mapping[str, Any]]] = {}
    for seed, kept in by_seed.items():
        for other, at in kept["streams"].items():
            mixes.setdefault(other, {})[seed] = at
    return dict(sorted(mixes.items(), key=lambda item: float(item[0])))


def section(found: Found, synthetic: bool) -> str:
    """Return the section's Markdown."""
    if not found:
        return f"{TEXT}\n\nNot run."
    lines = []
    for name, by_seed in found.items():
        for other, at in _mixes(by_seed).items():
            for seed, figures in at.items():
                fronts = [by_seed[seed]["frontend_us"][key] for key in FRONTS]
                gain = f"{figures['gain']:.1f}"
                lines.append(
                    [
                        *(name, str(seed), f"{100 * float(other):.0f}", f"{figures['invoke_us']:.1f}"),
                        f"{figures['always_us']:.2f}",
                        " + ".join(f"{us:.1f}" for us in figures["later_us"]),
                        ", ".join(f"{100 * share:.1f}" for share in figures["reach"]),
                        f"{figures['gated_us']:.2f}",
                        f"**{gain}**" if other == MAIN else gain,
                        f"{figures['bound']:.1f}",
                        f"{figures['bound'] / figures['gain']:.2f}",
                        *(f"{(figures['invoke_us'] + us) / (figures['gated_us'] + us):.1f}" for us in fronts),
                    ]
                )
    columns = ["spotter", "seed", "other words, %", "ungated", "always", "rest", "reach, %", "gated", "gain", "bound"]
    table = markdown_table([*columns, "bound / gain", *(f"with {label}" for label in FRONTS.values())], lines)
    return "\n\n".join([TEXT, SPEECH_PROTOCOL[synthetic] + ".", table, AFTER, *map(_about, found.items())])


def _about(item: tuple[str, Mapping[int, Mapping[str, Any]]]) -> str:
    name, by_seed = item
    first = next(iter(by_seed.values()))
    ways = {seed: f"in its interpreter ({kept['without']})" for seed, kept in by_seed.items() if kept["without"]}
    native = ", ".join(f"{way} of seed {seed}" for seed, way in ways.items()) or "by kernels"

    def shown(read: Callable[[Mapping[str, Any]], float], digits: int = 1) -> str:
        return median_and_range([read(kept) for kept in by_seed.values()], f"{{:.{digits}f}}")

    def latency(key: str, digits: int) -> str:
        return shown(lambda kept: kept["streams"][MAIN]["latency_us"][key], digits)

    def stop(kind: str) -> str:
        return f"{shown(lambda kept: 100 * kept['stopped'][kind], 0)} % of {kind}"

    stopped = ", ".join(map(stop, first["stopped"]))
    fronts = ", ".join(
        f"{shown(lambda k, key=key: k['frontend_us'][key], 1)} us ({label})"  # type: ignore[misc]
        for key, label in FRONTS.items()
    )
    plans = "; ".join(f"`{kept['plan']}`" for kept in by_seed.values())
    return (
        f"**{name}**, {first['macs'] / 1e6:.1f} M MACs: {streams.SPOTTERS[name].about}. Plans: {plans}; the first "
        f"stage runs {native}. On {first['test']} test clips accuracy is {shown(lambda k: 100 * k['accuracy'][0])} % "
        f"without gates and {shown(lambda k: 100 * k['accuracy'][1])} % with; the gates let "
        f"{shown(lambda k: 100 * k['gate_recall'])} % of positives through and stop {stopped}. The answer for a window "
        f"that the first gate stops takes {latency('stopped, median', 1)} us (99 % of them: at most "
        f"{latency('stopped, 99 %', 1)}), for one that passes {latency('passed, median', 0)} us (99 %: "
        f"{latency('passed, 99 %', 0)}), each heard once; the front end takes {fronts}. "
        "Median over seeds, range in brackets."
    )


TEXT = f"""A gated keyword spotter on a stream of windows, {100 * streams.POSITIVE:.0f} % of them keywords, a share of
them other words and the rest background, {streams.WINDOWS} windows drawn from test clips; microseconds a
window, one thread, one window after the other. The first gate reads the front end's int8 features and runs
by our kernels, one call a window; what passes runs in LiteRT. The stream with {100 * streams.OTHER:.0f} %
other words is the one that counts; the others show what the mix does to the same bundle."""
AFTER = f"""*ungated*: the int8 .tflite of the backbone without gates, its `invoke` alone, {streaming.REPEATS} in a row,
without copies in and out. *always*: the first gate's kernels alone, in a loop in C. *rest*: `invoke` alone
of each later stage, {streaming.REPEATS} in a row. *reach*: windows that arrive there. *gated*: all of it,
window by window from Python, copies, host loop and requantisation included. Each is the mean over windows
of a window's least time in {streams.ROUNDS} rounds. gain = ungated / gated. bound = ungated / (always + sum
of reach x rest), which is 1 / (share of what always runs + reach x share of the rest): what a host loop
that cost nothing would gain. The last columns add the front end to both sides, as a sum of figures
measured apart: MFCC of the whole window in torch, and by our kernels; and by kernels where windows overlap, so
that {" or ".join(map(str, streams.FRAMES))} of its 49 frames, 20 ms each, are new and the others are kept, equal bit
for bit. There the mix of windows is taken to be the same. Windows follow each other at once, so that the gate stays in
the caches, as it would not on a stream with a window a second; what passes comes rarely and finds them
colder than *rest* does."""
