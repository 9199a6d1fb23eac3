"""Plots how many times faster gated kernels are than dense kernels, and the limit that the remaining work sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from gatesearch.report import style
from results.kernels.cases import LAYERS, SPARSITIES
from results.kernels.figures import Times, densities

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#6b7280")
BOUND: Any = {"color": "#a3abb3", "linestyle": "--", "linewidth": 1.0, "zorder": 1}
MASKS = {"m1": "M1", "m2-32": "M2, 32", "m2-16": "M2, 16", "m2-8": "M2, 8", "3d": "3-D"}
Minima = Mapping[tuple[str, str], Times]


def draw(minima: Minima, path: Path) -> None:
    """Write a PNG with a panel for each group of cases; a panel without measurements says so.

    Args:
        minima: minimum times of each case, by group and name of the case.
        path: path of the PNG.
    """
    panels: list[tuple[Callable[[Axes, Minima], None], str, str]] = [
        (_dense, "dense", "int8 convolution over torch._int_mm (less is faster)"),
        (_channels, "fbs", "FBS, 16 x 16, 128 channels: times faster than dense"),
        (_precision, "pg", "PG 16/8: times faster than dense 16x8"),
        (_recurrent, "rnn", "LSTM step: times faster than the fastest dense step"),
    ]
    with style.settings():
        figure = style.figure(9.6, 6.6)
        for axes, (panel, group, title) in zip(figure.subplots(2, 2).flat, panels, strict=True):
            axes.set_title(title)
            if any(case[0] == group for case in minima):
                panel(axes, minima)
                axes.legend(ncols=2)
            else:
                axes.text(0.5, 0.5, "not measured", ha="center", transform=axes.transAxes)
                axes.set_axis_off()
        figure.savefig(path, format="png", dpi=150)


def _dense(axes: Axes, minima: Minima) -> None:
    names = [name for name in LAYERS if ("dense", name) in minima]
    bars = {
        "own, from patches": lambda t: t["product: own"],
        "own, from the image": lambda t: t["int8: own"],
        "LiteRT": lambda t: t["int8: LiteRT"],
        "ONNX Runtime": lambda t: t["int8: ONNX Runtime"],
    }
    for place, ((label, read), colour) in enumerate(zip(bars.items(), COLOURS, strict=False)):
        times = [minima["dense", name] for name in names]
        heights = [read(t) / t.best(t.named("product: torch"))[1] for t in times]
        axes.bar([i + 0.2 * (place - 1.5) for i in range(len(names))], heights, 0.19, label=label, color=colour)
    axes.axhline(1.3, label="target", **BOUND)
    axes.set_xticks(range(len(names)), [name.replace(", conv", ", ") for name in names])
    axes.set_ylabel("time over torch._int_mm")
    axes.set_ylim(0, axes.get_ylim()[1] * 1.25)


def _channels(axes: Axes, minima: Minima) -> None:
    (times,) = (t for (group, _), t in minima.items() if group == "fbs")
    lines = densities(times)
    xs = [density for density, *_ in lines]
    for place, label in enumerate(("both sides, fp32", "output alone, fp32", "both sides, int8")):
        axes.plot(xs, [line[place + 1] for line in lines], "o-", color=COLOURS[place], label=label, ms=4)
    axes.plot(xs, [x**-2 for x in xs], label="work left, both sides", **BOUND)
    axes.set_yscale("log", base=2)
    axes.set_yticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
    axes.set_xlabel("density")
    axes.set_ylabel("times faster")


def _precision(axes: Axes, minima: Minima) -> None:
    name, times = [(name, t) for (group, name), t in minima.items() if group == "pg"][-1]
    axes.set_title(f"PG 16/8, {name}: times faster than dense 16x8")
    for (mask, label), colour in zip(MASKS.items(), COLOURS, strict=False):
        ys = [times["16/8 dense"] / times.layer(mask, sparsity) for sparsity in SPARSITIES]
        axes.plot(SPARSITIES, ys, "o-", color=colour, label=label, ms=4)
    axes.plot(SPARSITIES, [2 / (2 - s) for s in SPARSITIES], label="work left", **BOUND)
    axes.set_xlabel("sparsity")
    axes.set_ylabel("times faster")


def _recurrent(axes: Axes, minima: Minima) -> None:
    sizes = sorted(int(name.split()[0]) for group, name in minima if group == "rnn")
    cases = [minima["rnn", f"{size} units"] for size in sizes]
    fastest = [t.best(["LSTM dense", "LSTM torch"])[1] for t in cases]
    forms = {"HMD at 4x": ["LSTM HMD"], "pruned (CSR), as many weights": ["LSTM pruned"]}
    for (label, names), colour in zip(forms.items(), COLOURS, strict=False):
        ys = [dense / t.best(names)[1] for dense, t in zip(fastest, cases, strict=True)]
        axes.plot(sizes, ys, "o-", color=colour, label=label, ms=4)
    axes.axhline(4, label="weights left", **BOUND)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set_xlabel("hidden units, and inputs")
    axes.set_ylabel("times faster")
    axes.set_ylim(bottom=0)
