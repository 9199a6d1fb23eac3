"""results/kernels.md for people and .json for programs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gatesearch.report import rows as written
from gatesearch.report.rows import Row, markdown_table
from results.kernels import plot, roofline, stream_page
from results.kernels.cases import HIDDEN, LAYERS, PRECISION, SPARSITIES, Case
from results.kernels.figures import FIGURES, Times, densities, promises

RUNS = Path("runs/bench-kernels")
NOT_RUN = "not run"
PROTOCOL = (
    "one thread, batch 1, calls in turn in one process, {rounds} rounds with warm caches, minimum; inputs from "
    "a fixed seed, each kernel checked against its reference before"
)
Found = Mapping[Case, Mapping[str, Any] | None]
Key = tuple[str, str]


def write(
    found: Found, streams: stream_page.Found, synthetic: bool, command: str, folder: Path = written.FOLDER
) -> tuple[list[Row], Path]:
    """Write all pages from what was measured; returns the rows and the path of the Markdown.

    Args:
        found: what each case left behind; None where it was not measured.
        streams: what each backbone that listened left behind.
        synthetic: whether it listened to synthetic speech.
        command: that was run.
        folder: where pages go.
    """
    kept = {(case.group, case.name): value for case, value in found.items() if value is not None}
    least, middle = ({key: Times.read(value, figure) for key, value in kept.items()} for figure in FIGURES)
    rows = [*_rows(kept, least, command), *stream_page.rows(streams, synthetic, command)]
    parts = [
        "# Kernels of gated layers",
        f"    {command}",
        INTRODUCTION,
        "![What each kind of kernel gains](kernels.png)",
        "## What was to be reached",
        _promises(least, middle, streams),
        "## Dense layers",
        DENSE,
        _dense(least),
        "## Channels: FBS",
        FBS,
        _channels(least),
        "## Precision: PG",
        PG,
        *(f"### {name}\n\n{_precision(least.get(('pg', name)))}" for name in PRECISION),
        "## Recurrent layers: HMD",
        RNN,
        _recurrent(least),
        "## A stream of windows",
        stream_page.section(streams, synthetic),
        "## Roofline",
        roofline.section(least),
        _machines([*kept.values(), *(value for by_seed in streams.values() for value in by_seed.values())]),
    ]
    path = written.write("kernels", rows, "\n\n".join(parts), folder)
    plot.draw(least, folder / "kernels.png")
    roofline.draw(least, folder / "kernels_roofline.png")
    return rows, path


def _promises(least: Mapping[Key, Times], middle: Mapping[Key, Times], streams: stream_page.Found) -> str:
    lines = []
    for promise in promises():
        cells = [promise.name, promise.target]
        if promise.case in least:
            ratio = promise.ratio(least[promise.case])
            verdict = _verdict(promise.reached(ratio))
            cells += [f"{ratio:.2f}", f"{promise.ratio(middle[promise.case]):.2f}", verdict]
        else:
            cells += [NOT_RUN, NOT_RUN, ""]
        lines.append([*cells, "" if promise.bound is None else f"{promise.bound:.2f}"])
    for name, target, by_seed, reached, bound in stream_page.promised(streams):
        shown = (
            [f"{statistics.median(by_seed.values()):.2f}", "", _verdict(reached)] if by_seed else [NOT_RUN, NOT_RUN, ""]
        )
        lines.append([name, target, *shown, "" if bound is None else f"{bound:.2f}"])
    return markdown_table(["ratio", "target", "of minima", "of medians", "", "by the work left"], lines)


def _verdict(reached: bool) -> str:
    return "reached" if reached else "**not reached**"


def _rows(kept: Mapping[Key, Mapping[str, Any]], least: Mapping[Key, Times], command: str) -> list[Row]:
    rest = {"provenance": "measured", "command": command}
    rows = []
    for promise in promises():
        if promise.case in least:
            protocol = PROTOCOL.format(rounds=kept[promise.case]["settings"]["rounds"])
            ratio = {0: promise.ratio(least[promise.case])}
            rows.append(Row.summarise(promise.name, ratio, "x", target=promise.target, protocol=protocol, **rest))
    for key, value in kept.items():
        protocol = PROTOCOL.format(rounds=value["settings"]["rounds"])
        for name, time in least[key].of.items():
            title = f"{key[0]}, {key[1]}: {name}"
            rows.append(Row.summarise(title, {0: time}, "us", target=None, protocol=protocol, **rest))
    return rows


def _dense(least: Mapping[Key, Times]) -> str:
    lines = []
    for name, g in LAYERS.items():
        times = least.get(("dense", name))
        shape = f"{g.output[0] * g.output[1]} x {g.inner} x {g.c_out}"
        if times is None:
            lines.append([name, shape, *[NOT_RUN] * 8])
            continue
        torch_fp32 = times.best(times.named("fp32: torch"))[1]
        mm = times.best(times.named("product: torch"))[1]
        figures = [times["fp32: own"], torch_fp32, times["fp32: ONNX Runtime"], times["fp32: LiteRT"]]
        figures += [times["int8: own"], times["int8: ONNX Runtime"], times["int8: LiteRT"], times["product: own"], mm]
        lines.append([name, shape, *(f"{value:.1f}" for value in figures)])
    columns = ["layer", "product", "fp32 own", "torch", "ORT", "LiteRT", "int8 own", "ORT", "LiteRT"]
    return markdown_table([*columns, "product own", "torch._int_mm"], lines)


def _channels(least: Mapping[Key, Times]) -> str:
    columns = ["density", "both sides", "by the work left", "output alone", "by the work left", "both sides, int8"]
    found = [times for (group, _), times in least.items() if group == "fbs"]
    if not found:
        return NOT_RUN
    name, time = found[0].best(found[0].named("fp32: "))
    lines = [
        [f"{d:g}", f"{both:.2f}", f"{d**-2:.2f}", f"{output:.2f}", f"{1 / d:.2f}", f"{small:.2f}"]
        for d, both, output, small in densities(found[0])
    ]
    table = markdown_table(columns, lines)
    own = found[0]["int8: own"]
    return f"{table}\n\nFastest dense fp32 here: {name[6:]}, {time:.0f} us; own dense int8: {own:.0f} us."


def _precision(times: Times | None) -> str:
    if times is None:
        return NOT_RUN
    masks = ("m1", "m2-32", "m2-16", "m2-8", "3d")
    lines = []
    for sparsity in SPARSITIES:
        layer = [f"{times['16/8 dense'] / times.layer(mask, sparsity):.2f}" for mask in masks]
        second = times.second_phase("3d", sparsity) / times.second_phase("m2-16", sparsity)
        lines.append([f"{sparsity:g}", *layer, f"{2 / (2 - sparsity):.2f}", f"{second:.2f}"])
    columns = ["sparsity", "M1", "M2, 32", "M2, 16", "M2, 8", "3-D", "by the work left", "3-D over M2, 16: phase 2"]
    small = times["8/4 m2-16 0.7"] / times["int8 dense"]
    closed = times["16/8 m2-16 1"] / times["16/8 dense"]
    return (
        markdown_table(columns, lines)
        + f"\n\nDense 16x8: {times['16/8 dense']:.0f} us; the first phase with its decision is {closed:.2f} of it. "
        + f"A split in 8/4 (M2 of 16, sparsity .7) takes {small:.2f} times as long as the plain int8 layer."
    )


def _recurrent(least: Mapping[Key, Times]) -> str:
    lines = []
    for size in HIDDEN:
        times = least.get(("rnn", f"{size} units"))
        if times is None:
            lines.append([str(size), *[NOT_RUN] * 9])
            continue
        names = ["LSTM dense", "LSTM torch", "LSTM HMD", "LSTM pruned", "LSTM pruned, products alone, torch"]
        speed = times.best(names[:2])[1] / times["LSTM HMD"]
        gru = [times[f"GRU {form}"] for form in ("dense", "HMD", "pruned")]
        figures = [f"{value:.1f}" for value in (*(times[name] for name in names), *gru)]
        lines.append([str(size), *figures[:5], f"{speed:.2f}", *figures[5:]])
    columns = ["units", "dense", "torch", "HMD", "pruned", "pruned, torch", "HMD faster", "GRU dense", "HMD", "pruned"]
    return markdown_table(columns, lines)


def _machines(kept: Sequence[Mapping[str, Any]]) -> str:
    def listed(found: Sequence[str]) -> str:
        return "; ".join(sorted(set(found))) or "none"

    machines = [value["machine"] for value in kept]
    cpus = listed([f"{m['cpu']}, {m['cores']} cores, {', '.join(m['flags'])}" for m in machines])
    sets = listed([value["settings"]["instructions"] for value in kept])
    versions = listed([", ".join(f"{k} {v}" for k, v in m["versions"].items()) for m in machines])
    return f"Machine: {cpus}. Kernels: {sets}. Versions: {versions}."


INTRODUCTION = """All times are **measured**, in microseconds, on one thread at batch 1 with warm caches. The calls of a
table took turns in one process, so that drift and load meet them alike; compare times only within a table's row, and
ratios anywhere. The minimum stands for a call, since load only ever adds time; ratios of medians are beside it."""
DENSE = """The shapes of M-CifarNet. "product" is the layer as a matrix product, rows x inner x columns, from patches
that are laid out already, which is all that `torch._int_mm` does (the better of two layouts of its weights); own "int8"
begins with the image and ends with requantised bytes. torch is oneDNN, the best of three layouts; ORT is ONNX
Runtime."""
FBS = """128 channels, 3 x 3, 16 x 16, blocks of 16 channels: times faster than the fastest dense fp32 layer of all, our
own included, with pooling, predictor and choice of the winners counted in; in int8, than our own dense int8."""
PG = """Times faster than our own dense 16x8 layer (16-bit activations, 8-bit weights with sign, as two products of
bytes), the decision counted in. The work left is 2 / (1 + 1 - sparsity). 3-D masks are computed output by output or in
blocks of 16 with one open output in them, whichever is faster. Random inputs: open outputs are scattered, not clustered
as in images. The last column is the paper's claim (Huang et al. 2020) that M2 masks suit CPUs, which it did not
measure."""
RNN = """Steps at batch 1 with as many inputs as hidden units, microseconds. HMD has a quarter of the weights, two
rank-1 blocks a gate; pruned layers keep as many, the largest, in CSR with 16-bit columns (indices not counted), in our
own kernel and, the products alone, in torch's. HMD gains more than its weights are fewer where only the dense ones
no longer fit the caches."""
