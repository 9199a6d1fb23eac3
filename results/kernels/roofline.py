"""Compares the speed of each kernel with the limits of the processor (roofline model, Williams et al. 2009).

There are two limits: the peak rate of multiply-accumulates (MACs), and the rate at which bytes can be read from memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gatesearch import kernels
from gatesearch.kernels import Geometry
from gatesearch.report import style
from gatesearch.report.rows import markdown_table
from results.kernels.cases import GATED, HIDDEN, LAYERS, PRECISION, Case
from results.kernels.figures import Times
from results.kernels.library_networks import Calls

GROUP, NAME = "roofline", "this processor"
PEAK_ROUNDS = 65536  # rounds in a call; with so many rounds, the time of the call itself is negligible
KIB = 1024
READS: Mapping[str, int] = {"L1": 16 * KIB, "L2": 512 * KIB, "memory": 128 * KIB * KIB}  # size of a buffer in bytes
MIN_READ_BYTES = 4 * KIB * KIB  # least number of bytes that a call reads; it reads a small buffer several times
LIMIT = "limit: "  # prefix of the names of calls that measure limits
LIMITS_TIMED_WITH_CASES = ("peak int8", "peak fp32", "read L2")
"""Names of the limits that are timed in turn with the kernels of every case."""
Minima = Mapping[tuple[str, str], Times]


def calls(names: Sequence[str] | None = None) -> Calls:
    """Return the calls that measure limits: products in registers, and reads of buffers that fit a level of memory.

    Args:
        names: names of the calls to return; None: all calls.
    """
    library = kernels.load()
    assert library is not None  # the benchmark refuses to start without kernels
    whole, real, read = (library.function(f"peak_{name}") for name in ("u8", "f32", "read"))
    every_call: Calls = {
        "peak int8": _bound(whole, (PEAK_ROUNDS, *(np.ones(64, kind) for kind in (np.uint8, np.int8)))),
        "peak fp32": _bound(real, (PEAK_ROUNDS, *(np.ones(64, np.float32) for _ in range(2)))),
    }
    for name, size in READS.items():
        count = size // 4
        every_call[f"read {name}"] = _bound(read, (np.ones(count, np.float32), count, max(1, MIN_READ_BYTES // size)))
    return {f"{LIMIT}{name}": call for name, call in every_call.items() if names is None or name in names}


CASE = Case(NAME, GROUP, calls)


def _bound(function: Callable[..., object], values: Sequence[Any]) -> Callable[[], object]:
    arguments = [value.ctypes.data if isinstance(value, np.ndarray) else value for value in values]
    # The call passes addresses of arrays; the default argument keeps these arrays alive.
    return lambda _alive=values: function(*arguments)  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class Roof:
    """The limits of the processor.

    Args:
        int8, fp32: peak rates of multiply-accumulates, in GMAC/s.
        read: rate at which bytes are read from each level of memory, in GB/s.
    """

    int8: float
    fp32: float
    read: Mapping[str, float]

    @classmethod
    def read_times(cls, times: Times) -> Roof:
        """Return the limits from the times of :func:`calls`; a level of memory without a time is omitted."""
        library = kernels.load()
        assert library is not None
        sizes = np.zeros(2, np.int32)
        library.function("peak_size")(sizes.ctypes.data)
        kinds = zip(sizes.tolist(), ("int8", "fp32"), strict=True)
        int8, fp32 = (n * PEAK_ROUNDS / times[f"{LIMIT}peak {kind}"] / 1e3 for n, kind in kinds)
        read_us = {name: times.calls.get(f"{LIMIT}read {name}") for name in READS}
        reads = {name: max(READS[name], MIN_READ_BYTES) / us / 1e3 for name, us in read_us.items() if us is not None}
        return cls(int8, fp32, reads)


@dataclass(frozen=True, slots=True)
class Point:
    """A kernel on the roofline.

    Args:
        name: name of the kernel on the page.
        kind: ``"int8"`` or ``"fp32"``: the peak that bounds the kernel.
        macs: number of MACs that the kernel computes.
        bytes: bytes of weights, of input activations and of output activations, each counted once.
        us: time in microseconds.
        roof: limits that were measured in turn with the kernel.
    """

    name: str
    kind: str
    macs: float
    bytes: float
    us: float
    roof: Roof

    @property
    def intensity(self) -> float:
        """The arithmetic intensity: MACs per byte."""
        return self.macs / self.bytes

    @property
    def speed(self) -> float:
        """The speed of the kernel in GMAC/s."""
        return self.macs / self.us / 1e3

    @property
    def peak(self) -> float:
        """The peak speed for the kernel's number format, in GMAC/s."""
        return float(getattr(self.roof, self.kind))

    @property
    def share(self) -> float:
        """The speed as a share of the limit, if data are read from the L2 cache."""
        return self.speed / min(self.peak, self.intensity * self.roof.read["L2"])


def points(minima: Minima) -> list[Point]:
    """Return the points of all kernels that were measured."""
    measured = []
    for name, g in LAYERS.items():
        if times := minima.get(("dense", name)):
            roof = Roof.read_times(times)
            measured.append(Point(f"dense int8, {name}", "int8", g.macs, _moved(g, 1, 1, 1), times["int8: own"], roof))
            measured.append(Point(f"dense fp32, {name}", "fp32", g.macs, _moved(g, 4, 4, 4), times["fp32: own"], roof))
    for (group, _), times in minima.items():
        if group == "fbs":
            roof = Roof.read_times(times)
            moved = _moved(GATED, 4, 4, 4)
            us = times["fbs, both sides, 0.5"]
            measured.append(Point("FBS fp32, density .5", "fp32", GATED.macs / 4, moved / 2, us, roof))
            moved = _moved(GATED, 1, 1, 1)
            us = times["fbs int8, both sides, 0.5"]
            measured.append(Point("FBS int8, density .5", "int8", GATED.macs / 4, moved / 2, us, roof))
    for name, g in PRECISION.items():
        if times := minima.get(("pg", name)):
            roof = Roof.read_times(times)
            moved = _moved(g, 2, 1, 4)
            measured.append(Point(f"16x8 dense, {name}", "int8", 2 * g.macs, moved, times["16/8 dense"], roof))
            us = times["16/8 m2-16 0.7"]
            measured.append(Point(f"PG M2 of 16 at .7, {name}", "int8", 1.3 * g.macs, moved, us, roof))
    for size in HIDDEN:
        if times := minima.get(("rnn", f"{size} units")):
            weights, roof = 8.0 * size * size, Roof.read_times(times)
            measured.append(Point(f"LSTM fp32, {size} units", "fp32", weights, 4 * weights, times["LSTM dense"], roof))
            measured.append(
                Point(f"LSTM HMD fp32, {size} units", "fp32", weights / 4, weights, times["LSTM HMD"], roof)
            )
    return measured


def page(minima: Minima) -> Mapping[str, object] | None:
    """Return the values to fill into the roofline's part of the template; None if the limits are not measured."""
    times = minima.get((GROUP, NAME))
    if times is None:
        return None
    roof = Roof.read_times(times)
    lines = []
    for p in points(minima):
        lines.append([p.name, f"{p.intensity:.1f}", f"{p.speed:.0f}", f"{p.peak:.0f}", f"{100 * p.share:.0f}"])
    return {
        "int8": f"{roof.int8:.0f}",
        "fp32": f"{roof.fp32:.0f}",
        "reads": ", ".join(f"{value:.0f} GB/s from {name}" for name, value in roof.read.items()),
        "kernels": markdown_table(["kernel", "MACs a byte", "GMAC/s", "peak, GMAC/s", "of the roof, %"], lines),
        "overheads": _precision_overheads(minima),
    }


def _precision_overheads(minima: Minima) -> list[str]:
    """Return a sentence for each layer with precision gating: the time of its remaining products at dense speed."""
    lines = []
    for name, g in PRECISION.items():
        times = minima.get(("pg", name))
        if times is None:
            continue
        dense, gated, roof = times["16/8 dense"], times["16/8 m2-16 0.7"], Roof.read_times(times)
        product = dense * 1.3 / 2
        lines.append(
            f"PG at {name}: dense runs at {100 * 2e-3 * g.macs / dense / roof.int8:.0f} % of the peak, gated at "
            f"{100 * 1.3e-3 * g.macs / gated / roof.int8:.0f} %. At the dense layer's speed the products that are left "
            f"would take {product:.0f} us of {gated:.0f} us; in the other {gated - product:.0f} us it decides, lists "
            "and gathers."
        )
    return lines


def draw(minima: Minima, path: Path) -> None:
    """Write a PNG of the roofline; do nothing if the limits are not measured."""
    times = minima.get((GROUP, NAME))
    if times is None:
        return
    roof, colours = Roof.read_times(times), {"int8": "#0072b2", "fp32": "#e69f00"}
    with style.settings():
        figure = style.figure(7.2, 4.4)
        axes = figure.subplots()
        xs = np.geomspace(0.1, 1000, 200)
        for kind, colour in colours.items():
            peak = getattr(roof, kind)
            for level, line in (("L2", "-"), ("memory", ":")):
                ys = np.minimum(peak, xs * roof.read[level])
                axes.plot(xs, ys, line, color=colour, lw=1, label=f"{kind}, from {level}")
        markers: dict[str, Any] = {"int8": "o", "fp32": "s"}
        for point in points(minima):
            gated = point.name.startswith(("FBS", "PG", "LSTM HMD"))
            face = colours[point.kind] if gated else "white"
            axes.plot(point.intensity, point.speed, markers[point.kind], color=colours[point.kind], mfc=face, ms=5)
        axes.plot([], [], "o", color=style.MUTED, mfc=style.MUTED, ms=5, label="gated")
        axes.plot([], [], "o", color=style.MUTED, mfc="white", ms=5, label="dense")
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
        axes.set_xlabel("multiply-accumulates a byte")
        axes.set_ylabel("GMAC/s, one thread")
        axes.legend(ncols=3, loc="lower right")
        figure.savefig(path, format="png", dpi=150)


def _moved(g: Geometry, x: int, w: int, y: int) -> float:
    """Return the bytes of a layer's image, weights and output; x, w and y are the bytes of one value of each."""
    image, weights = g.image[0] * g.image[1] * g.c_in, g.c_out * g.inner
    return x * image + w * weights + y * g.output[0] * g.output[1] * g.c_out
