"""Kernel of the level gate on a stream: an integer statistic that each hop updates from the new samples alone.

The level gate opens when a statistic of the signal, such as its energy, exceeds a threshold.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import addressof, c_int32, c_int64, c_uint64, c_void_p
from typing import Any, ClassVar

import numpy as np

from gatesearch.errors import DataError
from gatesearch.gates import KernelCall
from gatesearch.gates.level import SignalFormat, SignalStream
from gatesearch.gates.level.integers import LOG_TABLE
from gatesearch.gates.level.statistics import BINS, INTEGER_FILTERS, STATISTICS
from gatesearch.kernels import native
from gatesearch.kernels.arrays import Array, address, check_samples
from gatesearch.kernels.base import CountedKernel, Listing
from gatesearch.kernels.library import ADDRESS, INT, INT64, SOURCES, Library, Signatures
from gatesearch.kernels.work_terms import Terms

KINDS = tuple(STATISTICS)
"""The names of the statistics; the index of a name is its number ``kind`` in ``level.c``."""


class CLevel(ctypes.Structure):
    """The C struct ``gs_level`` of kernels.h: the settings and the state of a level gate on a stream."""

    _fields_ = (
        *((name, c_int32) for name in ("kind", "block", "frames", "bins", "filled", "place")),
        ("magnitude", c_uint64),
        *((name, c_int64) for name in ("total", "squares")),
        *((name, c_void_p) for name in ("logs", "filters", "numbers", "rest")),
    )


class LevelStream:
    """Computes the statistic of the window that ends with the newest sample; each push computes only the new frames.

    The result equals that of its reference, :class:`gatesearch.gates.level.SignalStream`, bit for bit.

    Args:
        format: the statistic, and the lengths of window, hop and frame.
        library: the compiled kernels; None loads the best ones for this CPU. Without a compiler, the reference runs.

    Attributes:
        arrays: the arrays that C reads, by the names of the fields of ``gs_level``.
        c: the C struct.
    """

    def __init__(self, format: SignalFormat, library: Library | None = None) -> None:
        self.format, self._read = format, 0
        self.library = library or native.load()
        self._reference = SignalStream(format)
        self.arrays: dict[str, Array] = {
            "logs": LOG_TABLE.astype(np.int16),
            "filters": np.ascontiguousarray(INTEGER_FILTERS, np.int16),
            "numbers": np.zeros(format.frames, np.int32),
            "rest": np.zeros(format.block, np.int16),
        }
        self.c = CLevel(
            kind=KINDS.index(format.statistic),
            block=format.block,
            frames=format.frames,
            bins=BINS,
            **{name: address(array) for name, array in self.arrays.items()},
        )

    def push(self, samples: Array) -> int | None:
        """Add the next samples, int16 [n]; return the statistic of the newest window, None before the first window.

        Raises:
            DataError: the samples have another type or shape.
        """
        if self.library is None:
            return self._reference.push(samples)
        samples = check_samples(samples, "level: samples")
        value = self.library.function("level")(addressof(self.c), address(samples), len(samples))
        self._read += len(samples)
        return None if self._read < self.format.window else int(value)

    def push_hops(self, samples: Array) -> Array:
        """Add whole hops behind the first window, int16 [n hop]; return the statistic after each of them, int64 [n].

        Raises:
            DataError: the samples have another type or shape, or are no whole number of hops.
        """
        samples, hop = check_samples(samples, "level: samples"), self.format.hop
        count, rest = divmod(len(samples), hop)
        if rest:
            raise DataError(f"level: {len(samples)} samples; wanted: a whole number of hops of {hop}")
        if self.library is None:
            values = [self._reference.push(part) for part in samples.reshape(count, hop)]
            return np.array(values, np.int64)
        result = np.empty(count, np.int64)
        self.library.function("level_hops")(addressof(self.c), address(samples), hop, count, address(result))
        self._read += len(samples)
        return result


class LevelKernel(CountedKernel):
    """The level gate at one hop. A call's shape is (samples per hop, samples per frame, frames per window, bins)."""

    name = "level"
    source = SOURCES / "level.c"
    rank = 21
    runner = "level"
    case = 12
    variants = ("statistic",)
    listings = ("level",)
    signatures: ClassVar[Signatures] = {
        "level": (INT64, (ADDRESS, ADDRESS, INT)),
        "level_hops": (None, (ADDRESS, ADDRESS, INT, INT, ADDRESS)),
    }

    def call(self, format: SignalFormat) -> KernelCall:
        """Return the call that a hop makes."""
        kind = KINDS.index(format.statistic)
        shape = (format.hop, format.block, format.frames, BINS)
        return KernelCall(self.name, shape, (("statistic", kind),))

    def table_calls(self, listing: Listing) -> Iterator[KernelCall]:
        """Yield a call for each statistic; the spectral flatness has its own frame length."""
        hop, frame, frames, bins = listing.shape
        for kind, name in enumerate(KINDS):
            block = STATISTICS[name].block or frame
            yield KernelCall(self.name, (hop, block, frames, bins), (("statistic", kind),))

    def macs(self, call: KernelCall) -> float:
        """Return the operations of a hop: the filters' products for the flatness, else one addition per sample."""
        hop, _, _, bins = call.shape
        return float(hop * 2 * bins if _statistic(call) == "flatness" else hop)

    def work(self, call: KernelCall, tile: int) -> Terms:
        """Return the counts of loop iterations: products and bins for the flatness, else samples and frames."""
        hop, block, _, bins = call.shape
        if _statistic(call) == "flatness":
            return {"call": 1.0, "products": 2.0 * hop * bins, "bins": hop / block * bins}
        return {"call": 1.0, "samples": float(hop), "frames": hop / block}

    def family(self, call: KernelCall) -> str:
        """Return the name of the group of calls whose loop iterations take the same time: one for each statistic."""
        return f"{self.name} {_statistic(call)}"


def _statistic(call: KernelCall) -> Any:
    return KINDS[int(dict(call.variant)["statistic"])]
