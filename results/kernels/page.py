"""Rows, page and plots of the ``kernels`` benchmark: times of gated and dense layers on one machine."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gatesearch.report.rows import RESULTS, Row, markdown_table
from results.benchmark import NOT_RUN, Benchmark, Draw, describe_verdict, meets_target
from results.kernels import networks_page, plot, roofline, stream_page
from results.kernels.cases import DENSITIES, HIDDEN, LAYERS, PRECISION, SPARSITIES, Case
from results.kernels.figures import TIMINGS, Times, densities, kernel_targets
from results.kernels.stream_page import Measurements

PROTOCOL = (
    "one thread, batch 1, calls in turn in one process, {rounds} rounds with warm caches, minimum; inputs from "
    "a fixed seed, each kernel checked against its reference before"
)
MASKS = ("m1", "m2-32", "m2-16", "m2-8", "3d")
Key = tuple[str, str]  # group and name of a case


class Kernels(Benchmark):
    """The benchmark of gated kernels, and of gated keyword spotters on streams.

    Args:
        command: command that repeats the benchmark.
        measured: measurement of each case; None for a case that is not measured.
        streams_by_spotter: measurements of each keyword spotter on streams, by seed.
        synthetic: whether the streams have synthetic speech.
        results: folder of all benchmarks.
    """

    name = "kernels"

    def __init__(
        self,
        command: str,
        measured: Mapping[Case, Mapping[str, Any] | None],
        streams_by_spotter: Measurements,
        synthetic: bool,
        results: Path = RESULTS,
    ) -> None:
        super().__init__(command, results)
        self.measured: dict[Key, Mapping[str, Any]] = {}
        for case, measurement in measured.items():
            if measurement is not None:
                self.measured[case.group, case.name] = measurement
        self.streams_by_spotter, self.synthetic = streams_by_spotter, synthetic
        self.minima, self.medians = (self._times(timing) for timing in TIMINGS)

    def rows(self) -> list[Row]:
        """Return the ratios with a target, then the times of all calls, then the figures of the streams."""
        rows = []
        for target in kernel_targets():
            if target.case in self.minima:
                ratio = {0: target.ratio(self.minima[target.case])}
                protocol = self._protocol(target.case)
                rows.append(self.row(target.name, ratio, "x", protocol=protocol, target=target.target))
        for key, times in self.minima.items():
            for name, us in times.calls.items():
                title = f"{key[0]}, {key[1]}: {name}"
                rows.append(self.row(title, {0: us}, "us", protocol=self._protocol(key)))
        return [*rows, *stream_page.rows(self.streams_by_spotter, self.synthetic, self.command)]

    def page(self) -> Mapping[str, object]:
        """Return the values to fill into the template, mostly tables."""
        return {
            "targets": self._target_table(),
            "dense": self._dense_table(),
            "channels": self._channels(),
            "precision": {name: _precision(self.minima.get(("pg", name))) for name in PRECISION},
            "networks": networks_page.tables(self.minima),
            "recurrent": self._recurrent_table(),
            "stream": stream_page.page(self.streams_by_spotter, self.synthetic),
            "roofline": roofline.page(self.minima),
            "circumstances": self._circumstances(),
        }

    def plots(self) -> Mapping[str, Draw]:
        """Return the plot of gains, and the roofline if it is measured."""
        plots = {"kernels.png": partial(plot.draw, self.minima)}
        if (roofline.GROUP, roofline.NAME) in self.minima:
            plots["roofline.png"] = partial(roofline.draw, self.minima)
        return plots

    def _times(self, timing: str) -> dict[Key, Times]:
        return {key: Times.read(measurement, timing) for key, measurement in self.measured.items()}

    def _protocol(self, key: Key) -> str:
        return PROTOCOL.format(rounds=self.measured[key]["settings"]["rounds"])

    def _target_table(self) -> str:
        lines = []
        for target in kernel_targets():
            cells = [NOT_RUN, NOT_RUN, ""]
            if target.case in self.minima:
                ratio, median = (target.ratio(times[target.case]) for times in (self.minima, self.medians))
                cells = [f"{ratio:.2f}", f"{median:.2f}", describe_verdict(meets_target(target.target, ratio))]
            lines.append([target.name, target.target, *cells, _optional(target.bound)])
        for stream in stream_page.targets(self.streams_by_spotter):
            cells = [NOT_RUN, NOT_RUN, ""]
            if stream.by_seed:
                cells = [f"{statistics.median(stream.by_seed.values()):.2f}", "", describe_verdict(stream.met)]
            lines.append([stream.name, stream.target, *cells, _optional(stream.bound)])
        return markdown_table(["ratio", "target", "of minima", "of medians", "", "by remaining work"], lines)

    def _dense_table(self) -> str:
        lines = []
        for name, g in LAYERS.items():
            times = self.minima.get(("dense", name))
            shape = f"{g.output[0] * g.output[1]} x {g.inner} x {g.c_out}"
            if times is None:
                lines.append([name, shape, *[NOT_RUN] * 11])
                continue
            figures = [
                times["fp32: own"],
                times.best(times.named("fp32: torch"))[1],
                times["fp32: ONNX Runtime"],
                times["fp32: LiteRT"],
                times.get("fp32: OpenVINO"),
                times["int8: own"],
                times["int8: ONNX Runtime"],
                times["int8: LiteRT"],
                times.get("int8: OpenVINO"),
                times["product: own"],
                times.best(times.named("product: torch"))[1],
            ]
            lines.append([name, shape, *(NOT_RUN if us is None else f"{us:.1f}" for us in figures)])
        columns = [
            "layer",
            "product",
            "fp32 own",
            "torch",
            "ORT",
            "LiteRT",
            "OpenVINO",
            "int8 own",
            "ORT",
            "LiteRT",
            "OpenVINO",
        ]
        return markdown_table([*columns, "product own", "torch._int_mm"], lines)

    def _channels(self) -> str:
        times = next((times for (group, _), times in self.minima.items() if group == "fbs"), None)
        if times is None:
            return NOT_RUN
        lines = []
        for density, both, output, int8 in densities(times):
            lines.append(
                [
                    f"{density:g}",
                    f"{both:.2f}",
                    f"{density**-2:.2f}",
                    f"{output:.2f}",
                    f"{1 / density:.2f}",
                    f"{int8:.2f}",
                ]
            )
        columns = [
            "density",
            "both sides",
            "by remaining work",
            "output alone",
            "by remaining work",
            "both sides, int8",
        ]
        rows = []
        for form, gated in (("fp32", "fbs, both sides, "), ("int8", "fbs int8, both sides, ")):
            for name in times.named(f"{form}: "):
                rows.append([form, f"dense, {name.removeprefix(f'{form}: ')}", f"{times[name]:.0f}"])
            for density in DENSITIES:
                rows.append([form, f"FBS, density {density:g}", f"{times[f'{gated}{density:g}']:.0f}"])
        return f"{markdown_table(columns, lines)}\n\n{markdown_table(['format', 'layer', 'us'], sorted(rows))}"

    def _recurrent_table(self) -> str:
        lines = []
        for size in HIDDEN:
            times = self.minima.get(("rnn", f"{size} units"))
            if times is None:
                lines.append([str(size), *[NOT_RUN] * 9])
                continue
            names = ["LSTM dense", "LSTM torch", "LSTM HMD", "LSTM pruned", "LSTM pruned, products alone, torch"]
            faster = times.best(names[:2])[1] / times["LSTM HMD"]
            lstm = [f"{times[name]:.1f}" for name in names]
            gru = [f"{times[f'GRU {form}']:.1f}" for form in ("dense", "HMD", "pruned")]
            lines.append([str(size), *lstm, f"{faster:.2f}", *gru])
        columns = ["units", "dense", "torch", "HMD", "pruned", "pruned, torch", "HMD faster"]
        return markdown_table([*columns, "GRU dense", "HMD", "pruned"], lines)

    def _circumstances(self) -> str:
        streams = [stream for by_seed in self.streams_by_spotter.values() for stream in by_seed.values()]
        measurements = [*self.measured.values(), *streams]
        machines = [measurement["machine"] for measurement in measurements]
        processors = _join([f"{m['cpu']}, {m['cores']} cores, {', '.join(m['flags'])}" for m in machines])
        instructions = _join([measurement["settings"]["instructions"] for measurement in measurements])
        versions = _join([", ".join(f"{name} {v}" for name, v in m["versions"].items()) for m in machines])
        return f"Machine: {processors}. Kernels: {instructions}. Versions: {versions}."


def _precision(times: Times | None) -> str:
    if times is None:
        return NOT_RUN
    lines = []
    for sparsity in SPARSITIES:
        layers = [f"{times['16/8 dense'] / times.layer(mask, sparsity):.2f}" for mask in MASKS]
        second = times.second_phase("3d", sparsity) / times.second_phase("m2-16", sparsity)
        lines.append([f"{sparsity:g}", *layers, f"{2 / (2 - sparsity):.2f}", f"{second:.2f}"])
    columns = ["sparsity", "M1", "M2, 32", "M2, 16", "M2, 8", "3-D", "by remaining work", "3-D over M2, 16: phase 2"]
    closed = times["16/8 m2-16 1"] / times["16/8 dense"]
    split = times["8/4 m2-16 0.7"] / times["int8 dense"]
    return (
        f"{markdown_table(columns, lines)}\n\n"
        f"Dense 16x8: {times['16/8 dense']:.0f} us; the first phase with its decision takes {closed:.2f} of this time. "
        f"A split in 8/4 (M2 of 16, sparsity .7) takes {split:.2f} times as long as gatesearch's dense int8 layer. "
        f"The split 16/8 (M2 of 16, sparsity .7) takes {times['16/8 m2-16 0.7']:.0f} us, the split 8/4 "
        f"{times['8/4 m2-16 0.7']:.0f} us; {_fastest(times, 'fp32')}, {_fastest(times, 'int8')}."
    )


def _fastest(times: Times, form: str) -> str:
    name, us = times.best(times.named(f"{form}: "))
    return f"the fastest dense {form} of a library {us:.0f} us ({name.removeprefix(f'{form}: ')})"


def _optional(bound: float | None) -> str:
    return "" if bound is None else f"{bound:.2f}"


def _join(names: Sequence[str]) -> str:
    return "; ".join(sorted(set(names))) or "none"
