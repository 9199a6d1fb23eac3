"""Log-mel and MFCC features in fixed point: the C kernel that computes a frame of int8 features from int16 samples."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import addressof, c_int32, c_void_p
from typing import ClassVar

import numpy as np

from gatesearch.errors import DataError
from gatesearch.frontends.fixed_mel import SIZE_NAMES, TABLE_NAMES, FixedMel
from gatesearch.frontends.fixed_point import spans
from gatesearch.gates import KernelCall
from gatesearch.kernels import native
from gatesearch.kernels.arrays import Array, address, aligned_zeros, check_samples
from gatesearch.kernels.base import CountedKernel, Listing
from gatesearch.kernels.library import ADDRESS, SIZE, SOURCES, Library, Signatures
from gatesearch.kernels.work_terms import Terms


class CFixedMel(ctypes.Structure):
    """The C struct ``gs_fixed_mel`` of kernels.h: the sizes and tables of a front end."""

    _fields_ = (
        *((name, c_int32) for name in SIZE_NAMES),
        *((name, c_void_p) for name in TABLE_NAMES),
    )


class FixedMelStream:
    """Computes a frame of features for each stride of samples; a stream begins with silence.

    The features equal those of its reference, :meth:`FixedMel.features_of`, bit for bit.

    Args:
        tables: the front end.
        library: the compiled kernels; None loads the best ones for this CPU. Without a compiler, the reference runs.

    Attributes:
        shape: frames of a window, and features of a frame.
        stride, frame: samples from one frame to the next, and of a frame.
        arrays: the tables that C reads, by the names of the fields of ``gs_fixed_mel``; they do not exist without a
            compiler.
    """

    def __init__(self, tables: FixedMel, library: Library | None = None) -> None:
        self.tables, self.library = tables, library or native.load()
        self.shape, self.stride, self.frame = (tables.window_frames, tables.features), tables.stride, tables.frame
        self._history = np.zeros(max(tables.lag, 0) + tables.stride, np.int16)
        if self.library is None:
            return
        self.arrays = {name: np.ascontiguousarray(table) for name, table in tables.c_tables().items()}
        self._c = CFixedMel(**tables.c_sizes(), **{name: address(array) for name, array in self.arrays.items()})
        self._scratch = aligned_zeros(self.library.function("fixed_mel_scratch")(addressof(self._c)), np.uint8)

    @property
    def scratch_bytes(self) -> int:
        """Bytes of memory that the kernel needs while it runs."""
        return int(self._scratch.nbytes)

    def c_sizes(self) -> dict[str, int]:
        """Return the fields of ``gs_fixed_mel`` that are numbers."""
        return self.tables.c_sizes()

    def frames(self, samples: Array, count: int) -> Array:
        """Return the features of the first frames of a stretch of sound, int16 [n] -> int8 [count, features].

        Raises:
            DataError: the samples have another type or shape, or are fewer than these frames have.
        """
        samples, tables = check_samples(samples, "samples"), self.tables
        if count < 1 or len(samples) < tables.frame + (count - 1) * tables.stride:
            raise DataError(f"{count} frames do not fit into a sound of {len(samples)} samples")
        starts = np.arange(count) * tables.stride
        if self.library is None:
            return tables.features_of(samples[starts[:, None] + np.arange(tables.frame)])
        out, run = np.empty((count, tables.features), np.int8), self.library.function("fixed_mel")
        # numpy takes microseconds to tell an address, so only the first ones are asked for.
        tables_at, scratch = addressof(self._c), address(self._scratch)
        sound_at, features_at = samples.ctypes.data, out.ctypes.data
        for k, start in enumerate(starts.tolist()):
            run(tables_at, sound_at + start * samples.itemsize, features_at + k * tables.features, scratch)
        return out

    def push(self, samples: Array) -> Array:
        """Add the next samples of the stream, int16 [stride]; return the features of the next frame, int8 [features].

        Raises:
            DataError: the samples have another type or shape.
        """
        samples, tables = check_samples(samples, "samples"), self.tables
        if len(samples) != tables.stride:
            raise DataError(f"{len(samples)} samples; wanted: {tables.stride}")
        if self.library is None:
            old = max(tables.lag, 0)
            self._history[old:] = samples
            first = old - tables.lag
            features = tables.features_of(self._history[None, first : first + tables.frame])[0]
            self._history = np.roll(self._history, -tables.stride)
            return features
        out = np.empty(tables.features, np.int8)
        run = self.library.function("fixed_mel_hop")
        run(addressof(self._c), address(samples), address(self._history), address(out), address(self._scratch))
        return out


class FixedMelKernel(CountedKernel):
    """The fixed-point front end at one frame of a stream.

    A call's shape is (points of a transform, samples of a frame, samples from one frame to the next, samples that a
    stream keeps between frames, bins, weights of all filters, filters, features).
    """

    name = "fixed_mel"
    source = SOURCES / "fixed_mel.c"
    rank = 23
    runner = "fixed_mel"
    case = 13
    variants = ("dct",)
    listings = ("mel",)
    signatures: ClassVar[Signatures] = {
        "fixed_mel_scratch": (SIZE, (ADDRESS,)),
        "fixed_mel": (None, (ADDRESS, ADDRESS, ADDRESS, ADDRESS)),
        "fixed_mel_hop": (None, (ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS)),
    }

    def table_calls(self, listing: Listing) -> Iterator[KernelCall]:
        """Yield the call of a shape; there is a cosine transform if it changes the number of features."""
        *_, mels, features = listing.shape
        yield KernelCall(self.name, listing.shape, (("dct", int(mels != features)),))

    def macs(self, call: KernelCall) -> float:
        """Return the multiply-accumulates of a frame: real products of the passes, the filters and the transforms."""
        fft, frame, _, _, bins, weights, mels, features = call.shape
        later = sum(12 if 4 * span <= fft // 2 else 8 for span in spans(fft // 2)) * fft / 8
        return float(frame + later + 6 * bins + weights + (mels * features if _has_dct(call) else features))

    def work(self, call: KernelCall, tile: int) -> Terms:
        """Return the counts of loop iterations, by step of the frame."""
        fft, frame, stride, lag, bins, weights, mels, features = call.shape
        points = fft // 2
        fours = [span for span in spans(points) if 4 * span <= points]
        pairs = (mels + 1) // 2
        return {
            "call": 1.0,
            "samples moved": float(stride + lag),
            "pairs of samples": frame / 2,
            "zeros": float(fft - frame),
            "first butterflies": points / 4,
            "butterflies": points / 4 * len(fours),
            "groups": sum(points / 4 / span for span in fours),
            "butterflies of two": points / 2 if len(fours) < len(spans(points)) else 0.0,
            "bins": float(bins),
            "weights": float(weights),
            "filters": float(mels),
            "features": float(features),
            "pairs of products": float(pairs * features) if _has_dct(call) else 0.0,
        }


def _has_dct(call: KernelCall) -> bool:
    return bool(dict(call.variant)["dct"])
