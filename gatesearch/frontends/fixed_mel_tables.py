"""Computes the tables of a front end in fixed point from a fitted log-mel or MFCC front end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from gatesearch.frontends.fixed_mel import FixedMel
from gatesearch.frontends.fixed_point import LOG_BITS, Array, input_order, pass_roots, roots_of_unity, spans
from gatesearch.frontends.mel_filters import LOG_OFFSET, filter_runs

FFT_SIZES = tuple(2**bits for bits in range(5, 13))  # numbers of points that the fixed-point transform supports
WINDOW_BITS = 28  # the window is in units of 2^-28; a windowed sample is in units of 2^-12 of an int16 sample
WINDOWED_BITS = 12
WEIGHT_BITS = 15  # weights of the mel filters are in units of 2^-15
FACTOR_BITS = 14  # the largest factor of a feature is between 2^14 and 2^15
MAX_SHIFT = 31  # the kernel shifts sums by at most 31 bits; only a feature with a huge step would need more


class FittedMel(Protocol):
    """What the tables need of a fitted :class:`gatesearch.frontends.LogMel` or MFCC front end."""

    fft: int
    frame: int
    stride: int
    samples: int
    window: Tensor
    mel: Tensor
    mean: Tensor
    std: Tensor

    @property
    def features(self) -> int:
        """Number of features per frame."""

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """Shape of one clip's features (1, frames, features)."""


def fixed_mel_tables(front: FittedMel, scale: float, zero_point: int) -> FixedMel | None:
    """Return the tables of a fitted front end; None if its transform has none of :data:`FFT_SIZES` points.

    Args:
        front: the front end.
        scale: difference of two neighbouring int8 values of the network's input.
        zero_point: the int8 value that stands for 0.
    """
    if front.fft not in FFT_SIZES:
        return None
    weights = np.round(front.mel.double().cpu().numpy() * 2**WEIGHT_BITS).astype(np.int64)
    bins, mels = weights.shape
    runs = filter_runs(weights)
    points = front.fft // 2
    # The steps before the logarithm multiply samples, of full scale 1, by 2^bits.
    bits = 15 + WEIGHT_BITS + WINDOWED_BITS - 1 - 2 * len(spans(points))
    offset = round(LOG_OFFSET * 2**bits)
    centre = offset.bit_length() + 15
    scaled = _Output.from_front_end(front, scale, zero_point, octaves=centre - bits)
    window = np.zeros(front.fft, np.int32)
    window[: front.frame] = np.round(front.window.double().cpu().numpy() * 2**WINDOW_BITS)
    return FixedMel(
        fft=front.fft,
        frame=front.frame,
        stride=front.stride,
        lag=front.samples - front.output_shape[1] * front.stride,
        window_frames=front.output_shape[1],
        bins=bins,
        mels=mels,
        features=front.features,
        has_dct=hasattr(front, "dct"),
        window=window,
        order=input_order(points).astype(np.uint16),
        roots=pass_roots(points).astype(np.int32),
        split=roots_of_unity(-np.pi / points * np.arange(-(-bins // 4) * 4) - np.pi / 2).astype(np.int32),
        first=runs.first,
        starts=runs.starts,
        weights=runs.weights.astype(np.uint16),
        offset=offset,
        centre=centre,
        factors=scaled.factors,
        shifts=scaled.shifts,
        biases=scaled.biases,
    )


@dataclass(frozen=True)
class _Output:
    """Factors, shifts and biases that turn logarithms into int8 features; see :class:`FixedMel`."""

    factors: Array
    shifts: Array
    biases: Array

    @classmethod
    def from_front_end(cls, front: FittedMel, scale: float, zero_point: int, octaves: int) -> _Output:
        """Return the factors of a front end.

        Args:
            front: the front end.
            scale, zero_point: the quantisation of the features.
            octaves: binary logarithm of the sum of a filter at which the logarithm in fixed point is 0.
        """
        step = front.std.double().cpu().numpy() * scale
        dct: Tensor | None = getattr(front, "dct", None)
        weights = np.eye(front.features) if dct is None else dct.double().cpu().numpy().T  # [features, mels]
        real = weights * math.log(2) / step[:, None]  # steps of int8 for each octave
        largest = np.abs(real).max(1)
        shifts = np.array([FACTOR_BITS + LOG_BITS - math.floor(math.log2(each)) for each in largest])
        shifts = np.clip(shifts, 1, MAX_SHIFT)
        factors = np.round(real * 2.0 ** (shifts - LOG_BITS)[:, None])
        factors = np.clip(factors, -(2**15) + 1, 2**15 - 1)
        constants = (real.sum(1) * octaves - front.mean.double().cpu().numpy() / step + zero_point + 0.5) * 2.0**shifts
        factors = np.diagonal(factors) if dct is None else np.pad(factors, ((0, 0), (0, factors.shape[1] % 2)))
        return cls(
            factors=np.ascontiguousarray(factors, np.int16),
            shifts=shifts.astype(np.uint8),
            biases=np.floor(constants).astype(np.int64),
        )
