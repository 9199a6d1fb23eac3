"""results/latency.md, .json and .png."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gatesearch.plan import GatePlan
from gatesearch.report import rows as written
from gatesearch.report import style
from gatesearch.report.rows import Row, markdown_table
from results.latency import models
from results.runs import versions

NEAR = 0.10
TARGETS = {"near": "at least 0.95", "median": "at most 0.03"}
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#6b7280")
Found = Sequence[Mapping[str, Any]]
PUBLISHED = (
    "nn-Meter (Zhang et al., MobiSys 2021), for comparison: 99.0 % of its test models within +-10 % on a mobile CPU "
    "(Cortex-A76 with TFLite). Another machine, other models (ungated CNNs such as MobileNets and ResNets, each kernel "
    "by regression over thousands of samples), so that the two figures stand beside each other and prove nothing of "
    "one another."
)


def error(row: Mapping[str, Any]) -> float:
    """Return by which share of the measured time the prediction is above it."""
    return float(row["predicted_us"] / row["measured_us"] - 1)


def write(rows: Found, tables: Mapping[str, Mapping[str, Any]], count: int, command: str) -> Path:
    """Write what was measured so far; what was not run is shown as not run.

    Args:
        rows: a held-out model each.
        tables: what filling the table of each backbone took.
        count: of models that each backbone should have.
        command: that makes it.
    """
    figures = _figures(rows, command)
    written.folder_of("latency").mkdir(parents=True, exist_ok=True)
    if rows:
        _draw(rows, written.folder_of("latency") / "latency.png")
    written.show("latency", figures)
    return written.write("latency", figures, _page(rows, tables, count, command))


def _figures(rows: Found, command: str) -> list[Row]:
    if not rows:
        return []
    errors = [abs(error(row)) for row in rows]
    protocol = (
        f"{len(rows)} random held-out gated models run end to end through their bundles at batch 1 on one thread, "
        "every gate letting the window pass; median over undisturbed calls; predicted by the tables alone"
    )
    rest: dict[str, Any] = {"provenance": "measured", "protocol": protocol, "seeds": (0,), "command": command}
    near = sum(e <= NEAR for e in errors) / len(errors)
    median = statistics.median(errors)
    return [
        Row("models within +-10 %", near, "share", TARGETS["near"], values=(near,), **rest),
        Row("median error", median, "share", TARGETS["median"], values=(median,), **rest),
        Row("largest error", max(errors), "share", None, values=(max(errors),), **rest),
    ]


def _page(rows: Found, tables: Mapping[str, Mapping[str, Any]], count: int, command: str) -> str:
    parts = ["# Latency of gated models, predicted and measured", f"    {command}"]
    if not rows:
        return "\n\n".join([*parts, "Not run."])
    errors = [abs(error(row)) for row in rows]
    near, median = sum(e <= NEAR for e in errors) / len(errors), statistics.median(errors)
    missing = count * len(models.BACKBONES) - len(rows)
    parts += [
        f"{len(rows)} random plans over {len({row['backbone'] for row in rows})} backbones, with cuts (channel and "
        "activation masks at any keep ratio), FBS, PG and HMD layers and mixes, each run end to end through the "
        "runtime of bundles: LiteRT programs, kernels, gate heads and the host's loop. Weights are untrained; gates "
        "are set to random shares of the work. Predictions are made by the tables that the search prices plans with "
        "(`gatesearch measure`), which were filled without any of these models. All times are **measured**, in "
        "microseconds at batch 1 on one thread: the median over the calls during which nothing else had the processor "
        "core. Whether that is so tells a fixed bit of work that is timed between any two calls, for tables and models "
        "alike (and for the front of a search, which is measured with the same clock); what lies beside one that takes "
        "more than 1.2 times its fastest does not count, and is taken again.",
        "How the models were made: assembled as an export does it and run through the runtime of bundles, without the "
        "files that a bundle has beside its programs (manifest, checksums). Plans are drawn by seeds from 300000 on, "
        "1000 further for each backbone (a page before this one was of seeds from 200000 on). Missing terms were "
        "looked for on another set of 56, of seeds from 0 on "
        "(`set=development`), on which nothing here is reported; nothing was fitted to the models of this page. What "
        "the model of latency lacked there, seen by timing models and their parts in one turn: minima of parts add up "
        "to less than a whole; the other thread of the core slows products by a tenth and the loop by two thirds; the "
        "loop takes up to three times as long behind a window's programs as by itself; the call was taken out of each "
        "operator at the price of a cold one; a gated layer stood for a share of its block's multiplications, not for "
        "what a cut leaves of that layer; blocks of 16 channels fill up before all groups of 8 are open; padding is "
        "fused into the convolution behind it; XNNPACK computes output channels in tiles of 16 or 32, which the table "
        "finds out by four or eight timings, so that a cut that leaves 97 of 128 may save nothing there; recurrent "
        "layers without a gate, which LiteRT runs as hundreds of operators at times that no table knew, are run by the "
        "kernels of gated ones, in .6 to .75 of the time. "
        "Tables are of at most 100 timings, the host's loop (8) included: operators of equal shape are timed once; "
        "of the others of a family that are too many, time is "
        "interpolated over work, of kernels over shares and shapes.",
        markdown_table(
            ["", "reached", "target", ""],
            [
                ["within +-10 %", f"{near:.1%}", "at least 95 %", "reached" if near >= 0.95 else "**not reached**"],
                ["median error", f"{median:.1%}", "at most 3 %", "reached" if median <= 0.03 else "**not reached**"],
                ["largest error", f"{max(errors):.1%}", "", ""],
            ],
        ),
        "![Predicted beside measured](latency.png)",
        PUBLISHED,
        *([f"Not timed: {missing} of {count * len(models.BACKBONES)} models."] if missing else []),
        _missed(rows),
        "## By backbone",
        markdown_table(
            ["backbone", "models", "measured", "within +-10 %", "median error", "bias", "timings", "noisy", "seconds"],
            [
                _by_backbone(name, [r for r in rows if r["backbone"] == name], tables, count)
                for name in models.BACKBONES
            ],
        ),
        "Bias is the median of the errors with their signs; timings, how many of them were still disturbed when time "
        "was up, and seconds are those of the backbone's table. Conversions to .tflite, which take longer than the "
        "timings, are not in the seconds. Programs of one structure share their (random) weights.",
        "## Every model",
        markdown_table(["backbone", "plan", "measured", "predicted", "error"], [_line(row) for row in rows]),
        _machine(rows[0]["machine"]),
    ]
    return "\n\n".join(parts)


def _missed(rows: Found) -> str:
    """Say where predictions are further off than 10 %; the reasons are those that are left open."""
    off = [row for row in rows if abs(error(row)) > NEAR]
    if not off:
        return "No model is further off than 10 %."
    cut = sum(any(gate["kind"] == "gc" for gate in row["plan"]["gates"]) for row in off)
    where = ", ".join(f"{name} ({n})" for name, n in Counter(row["backbone"] for row in off).items())
    return (
        f"Further off than 10 %: {where}; {cut} of these {len(off)} plans have cuts, {sum(error(r) < 0 for r in off)} "
        "take longer than predicted. Not priced: gate heads at other shares than all channels, copies between the "
        "parts of a stage, programs that take 2 to 4 % less as a whole than operator by operator, slices and ReLUs "
        "that a cut behind a sum brings with it, and what each further stage of a cascade adds to the loop beyond a "
        "small one (5 to 10 microseconds on development models)."
    )


def _by_backbone(name: str, rows: Found, tables: Mapping[str, Mapping[str, Any]], count: int) -> list[str]:
    told = tables.get(name)
    table = ["not run"] * 3 if told is None else [str(told["timings"]), str(told["noisy"]), f"{told['seconds']:.1f}"]
    if not rows:
        return [name, f"0 of {count}", *["not run"] * 4, *table]
    errors, times = [error(row) for row in rows], [row["measured_us"] for row in rows]
    return [
        *(name, f"{len(rows)} of {count}", f"{min(times):.0f} to {max(times):.0f}"),
        f"{sum(abs(e) <= NEAR for e in errors)} of {len(rows)}",
        *(f"{statistics.median(map(abs, errors)):.1%}", f"{statistics.median(errors):+.1%}", *table),
    ]


def _line(row: Mapping[str, Any]) -> list[str]:
    plan = str(GatePlan.from_dict(row["plan"])).replace("|", ";").replace(", recall=0.99", "")
    noisy = " (noisy)" if row["noisy"] else ""
    measured, predicted = f"{row['measured_us']:.0f}{noisy}", f"{row['predicted_us']:.0f}"
    return [
        row["backbone"],
        plan.removesuffix(" on " + " > ".join(row["plan"]["cores"])),
        measured,
        predicted,
        f"{error(row):+.1%}",
    ]


def _machine(stamp: Mapping[str, Any]) -> str:
    return f"Machine: {stamp['cpu']}, {stamp['cores']} cores, {', '.join(stamp['flags'])}. Versions: {versions(stamp)}."


def _draw(rows: Found, path: Path) -> None:
    with style.settings():
        figure = style.figure(6.4, 5.2)
        axes = figure.subplots()
        times = [row[key] for row in rows for key in ("measured_us", "predicted_us")]
        ends = [0.8 * min(times), 1.25 * max(times)]
        axes.fill_between(
            ends, [0.9 * e for e in ends], [1.1 * e for e in ends], color=style.GRID, label="within 10 %", zorder=0
        )
        axes.plot(ends, ends, color=style.MUTED, linewidth=0.8, zorder=1)
        for name, colour in zip(models.BACKBONES, COLOURS, strict=True):
            own = [row for row in rows if row["backbone"] == name]
            if own:
                measured, predicted = ([row[key] for row in own] for key in ("measured_us", "predicted_us"))
                axes.scatter(measured, predicted, s=18, color=colour, label=name, zorder=2)
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
        axes.set_xlabel("measured, microseconds")
        axes.set_ylabel("predicted, microseconds")
        axes.set_title("Held-out gated models, end to end")
        axes.legend()
        figure.savefig(path, format="png", dpi=150)
