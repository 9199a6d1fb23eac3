"""The section of results/kernels.md on streams, and what was to be reached there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatesearch.bench.kernels import streams
from gatesearch.bench.results import Row, markdown_table
from gatesearch.bench.runs import SPEECH_PROTOCOL

Found = Mapping[str, Mapping[str, Any]]  # by backbone
SLACK = 1.3
MAIN = f"{streams.OTHER:g}"


def promised(found: Found) -> list[tuple[str, str, float | None, bool, float | None]]:
    """Return name, target, figure, whether it is reached, and bound of all that was to be reached."""
    lines = []
    for backbone, least in ((name, spotter.least) for name, spotter in streams.SPOTTERS.items()):
        at = found[backbone]["streams"][MAIN] if backbone in found else None
        gain, bound = (at["gain"], at["bound"]) if at else (None, None)
        slack = bound / gain if gain and bound else None
        lines += [
            (
                f"ungated .tflite over gated stream, {backbone}",
                f"at least {least:g}",
                gain,
                (gain or 0) >= least,
                bound,
            ),
            (f"bound over gain, {backbone}", f"at most {SLACK:g}", slack, bool(slack and slack <= SLACK), None),
        ]
    return lines


def rows(found: Found, synthetic: bool, command: str) -> list[Row]:
    """Return every figure for programs."""
    protocol = (
        f"{SPEECH_PROTOCOL[synthetic]}, test clips; {streams.WINDOWS} windows one by one, one thread, {streams.ROUNDS} "
        "rounds in turn with the ungated program, minimum; front end excluded unless it is named"
    )
    rest = {"provenance": "measured", "protocol": protocol, "command": command}
    made = [
        Row.over(name, {0: figure}, "x", target=target, **rest)
        for name, target, figure, _, _ in promised(found)
        if figure is not None
    ]
    for backbone, kept in found.items():
        made.append(Row.over(f"stream, {backbone}: front end", {0: kept["frontend_us"]}, "us", target=None, **rest))
        for other, at in kept["streams"].items():
            title = f"stream, {backbone}, {float(other):.0%} other words"
            for key in ("gated_us", "ungated_us", "invoke_us", "always_us"):
                made.append(Row.over(f"{title}: {key[:-3]}", {0: at[key]}, "us", target=None, **rest))
            for k, (later, reach) in enumerate(zip(at["later_us"], at["reach"], strict=True), 1):
                made.append(Row.over(f"{title}: stage {k}", {0: later}, "us", target=None, **rest))
                made.append(Row.over(f"{title}: reach of stage {k}", {0: reach}, "share", target=None, **rest))
            made.append(Row.over(f"{title}: gain", {0: at["gain"]}, "x", target=None, **rest))
            made.append(Row.over(f"{title}: bound", {0: at["bound"]}, "x", target=None, **rest))
    return made


def section(found: Found, synthetic: bool) -> str:
    """Return the section's Markdown."""
    if not found:
        return f"{TEXT}\n\nNot run."
    lines = []
    for backbone, kept in found.items():
        for other, at in kept["streams"].items():
            front = kept["frontend_us"]
            lines.append(
                [
                    backbone,
                    f"{100 * float(other):.0f}",
                    f"{at['invoke_us']:.1f}",
                    f"{at['always_us']:.2f}",
                    " + ".join(f"{us:.1f}" for us in at["later_us"]),
                    ", ".join(f"{100 * share:.1f}" for share in at["reach"]),
                    f"{at['gated_us']:.2f}",
                    f"**{at['gain']:.1f}**" if other == MAIN else f"{at['gain']:.1f}",
                    f"{at['bound']:.1f}",
                    f"{at['bound'] / at['gain']:.2f}",
                    f"{(at['invoke_us'] + front) / (at['gated_us'] + front):.2f}",
                ]
            )
    columns = ["backbone", "other words, %", "ungated", "always", "rest", "reach, %", "gated", "gain", "bound"]
    table = markdown_table([*columns, "bound / gain", "gain with front end"], lines)
    return "\n\n".join([TEXT, SPEECH_PROTOCOL[synthetic] + ".", table, AFTER, *map(_about, found.items())])


def _about(item: tuple[str, Mapping[str, Any]]) -> str:
    backbone, kept = item
    latency, accuracy = kept["streams"][MAIN]["latency_us"], [f"{100 * share:.1f}" for share in kept["accuracy"]]
    stopped = ", ".join(f"{100 * share:.0f} % of {kind}" for kind, share in kept["stopped"].items())
    native = f"in its interpreter ({kept['without']})" if kept["without"] else "by kernels"
    return (
        f"**{backbone}**, {kept['macs'] / 1e6:.1f} M MACs: {streams.SPOTTERS[backbone].about}. Its plan is "
        f"`{kept['plan']}`, the first stage {native}. On {kept['test']} test clips accuracy is {accuracy[0]} % without "
        f"gates and {accuracy[1]} % with; the gates let {100 * kept['gate_recall']:.1f} % of positives through and "
        f"stop {stopped}. The answer for a window that the first gate stops takes {latency['stopped, median']:.1f} us "
        f"(99 %: {latency['stopped, 99 %']:.1f}), for one that passes {latency['passed, median']:.0f} us (99 %: "
        f"{latency['passed, 99 %']:.0f}); the front end takes {kept['frontend_us']:.0f} us a window."
    )


TEXT = f"""A gated keyword spotter on a stream of windows, {100 * streams.POSITIVE:.0f} % of them keywords, a share of
them other words and the rest background, {streams.WINDOWS} windows drawn from test clips; microseconds a window, one
thread, one window after the other. The first gate reads the front end's int8 features and runs by our kernels,
one call a window; what passes runs in LiteRT. The stream with
{100 * streams.OTHER:.0f} % other words is the one that counts; the others show what the mix does to the same
bundle."""
AFTER = """*ungated*: the int8 .tflite of the backbone without gates, its `invoke` alone, without copies in and out.
*always*: the first gate's kernels alone, in a loop in C. *rest*: `invoke` alone of each later stage. *reach*:
windows that arrive there. *gated*: all of it, window by window from Python, copies, host loop and
requantisation included. gain = ungated / gated. bound = ungated / (always + sum of reach x rest), which is 1 /
(share of what always runs + reach x share of the rest): what a host loop that cost nothing would gain. The last
column adds the front end (MFCC in torch) to both sides: it is what bounds spotters as small as these on a host.
Windows follow each other at once, so that caches are warm; on a real stream a window comes every second."""
