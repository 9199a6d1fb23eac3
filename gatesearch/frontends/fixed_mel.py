"""Log-mel and MFCC features in fixed point: the tables that a device needs, and the reference of the C kernel.

A device computes a frame of int8 features from int16 samples with integers alone:

    samples x window -> Fourier transform -> magnitudes -> mel filters -> log2 [-> cosine transform] -> scale -> int8

``fixed_mel_tables.py`` computes the tables, once, from a fitted front end. ``gatesearch/kernels/src/fixed_mel.c`` reads
them, and computes the same features as :meth:`FixedMel.features_of`, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatesearch.errors import DataError
from gatesearch.frontends.base import FrameCall
from gatesearch.frontends.fixed_point import (
    LOG_BITS,
    LOG_TABLE,
    ROOT_TABLE,
    Array,
    headroom,
    logarithm,
    magnitude,
    real_spectrum,
    transform,
)
from gatesearch.frontends.grid import INT8_MAX, INT8_MIN

SIZE_NAMES = ("fft", "frame", "stride", "bins", "mels", "features", "lag", "has_dct", "offset", "centre")
TABLE_NAMES = (
    "window", "order", "roots", "split", "first", "starts", "weights",
    "square_roots", "logarithms", "factors", "shifts", "biases",
)  # fmt: skip
COMPLEX_TABLES = ("window", "roots", "split")  # tables of pairs of numbers


@dataclass(frozen=True, eq=False)
class FixedMel:
    """A fitted log-mel or MFCC front end in fixed point.

    Args:
        fft, frame, stride: samples of a Fourier transform, of a frame, and from one frame to the next.
        lag: samples from the start of the next frame to the end of a window. A stream keeps them between hops.
        window_frames: number of frames of a window.
        bins: number of bins of the spectrum that filters read.
        mels, features: number of mel filters, and of features of a frame.
        has_dct: whether the features are a cosine transform (DCT) of the logarithms.
        window: the window in units of 2^-28, followed by zeros, int32 [fft].
        order, roots: tables of the transform, see :mod:`gatesearch.frontends.fixed_point`; uint16 [fft / 8] and int32
            [n, 2].
        split: roots of unity that separate the spectra of even and odd samples, int32 [bins rounded up to 4, 2].
        first, starts: filter i reads the bins from ``first[i]`` on, int32 [mels]. Its weights are
            ``weights[starts[i]:starts[i + 1]]``; int32 [mels + 1].
        weights: weights in units of 2^-15, uint16.
        offset: the number that is added to a filter's sum before its logarithm, if the samples are not shifted.
        centre: octaves that are subtracted from each logarithm, so that it fits into int16.
        factors: factors of the logarithms, int16: [features] or, with a DCT, [features, mels rounded up to even].
        shifts: bits after the point in the factors of each feature, uint8 [features].
        biases: constants that are added before the shift, int64 [features]; they include half a step, for rounding.
    """

    fft: int
    frame: int
    stride: int
    lag: int
    window_frames: int
    bins: int
    mels: int
    features: int
    has_dct: bool
    window: Array
    order: Array
    roots: Array
    split: Array
    first: Array
    starts: Array
    weights: Array
    offset: int
    centre: int
    factors: Array
    shifts: Array
    biases: Array

    def call(self) -> FrameCall:
        """Return the kernel call that computes a frame."""
        sizes = (self.fft, self.frame, self.stride, max(self.lag, 0), self.bins, len(self.weights))
        return FrameCall("fixed_mel", (*sizes, self.mels, self.features), (("dct", int(self.has_dct)),))

    def c_sizes(self) -> dict[str, int]:
        """Return the sizes, by the names of the members of the C struct ``gs_fixed_mel``, in its order."""
        return {name: int(getattr(self, name)) for name in SIZE_NAMES}

    def c_tables(self) -> dict[str, Array]:
        """Return the tables, by the names of the members of the C struct ``gs_fixed_mel``, in its order and types."""
        common: dict[str, Array] = {
            "square_roots": ROOT_TABLE.astype(np.uint32),
            "logarithms": LOG_TABLE.astype(np.uint16),
        }
        return {name: common[name] if name in common else getattr(self, name) for name in TABLE_NAMES}

    def features_of(self, frames: Array) -> Array:
        """Return the features of frames, int16 [N, frame] -> int8 [N, features].

        Raises:
            DataError: the frames have another type or shape.
        """
        if frames.dtype != np.int16 or frames.ndim != 2 or frames.shape[1] != self.frame:
            raise DataError(f"frames are {frames.dtype} {list(frames.shape)}; wanted: int16 [n, {self.frame}]")
        logarithms = self.logarithms(frames)
        if self.has_dct:
            sums = logarithms @ self.factors[:, : self.mels].T.astype(np.int64)
        else:
            sums = logarithms * self.factors
        return np.clip((sums + self.biases) >> self.shifts, INT8_MIN, INT8_MAX).astype(np.int8)

    def logarithms(self, frames: Array) -> Array:
        """Return the logarithms of the mel filters' sums in units of 2^-10 octaves, int64 [N, mels]."""
        samples = np.zeros((len(frames), self.fft), np.int64)
        samples[:, : self.frame] = frames
        shift = headroom(samples)
        windowed = ((samples << shift[:, None]) * self.window) >> 16
        z = transform(windowed.reshape(len(frames), -1, 2), self.order.astype(np.int64), self.roots.astype(np.int64))
        sizes = magnitude(real_spectrum(z, self.split[: self.bins].astype(np.int64), self.bins))
        dense = np.zeros((self.bins, self.mels), np.int64)
        for band, (bin, start, end) in enumerate(zip(self.first, self.starts, self.starts[1:], strict=False)):
            dense[bin : bin + end - start, band] = self.weights[start:end]
        sums = sizes @ dense + (self.offset << shift[:, None])
        return logarithm(sums) - ((shift[:, None] + self.centre) << LOG_BITS)
