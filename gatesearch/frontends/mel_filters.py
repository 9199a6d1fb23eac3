"""Triangular filters on the mel scale, which are narrow at low frequencies and wide at high ones."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]
LOG_OFFSET = 1e-6  # added to a filter's sum; keeps the logarithm of silence finite
MEL_FACTOR, MEL_HERTZ = 1127.0, 700.0  # HTK's scale: mel = MEL_FACTOR ln(1 + hertz / MEL_HERTZ)


def hertz_to_mel(hertz: Tensor) -> Tensor:
    """Return frequencies on the mel scale of HTK, which is nearly linear below 700 Hz and logarithmic above."""
    return MEL_FACTOR * torch.log1p(hertz / MEL_HERTZ)


def mel_edges(filters: int, low_hz: float, high_hz: float) -> Tensor:
    """Return the edges of triangles in mel, equally spaced, float64 [filters + 2]; triangle i peaks at edge i + 1."""
    low, high = hertz_to_mel(torch.tensor([low_hz, high_hz], dtype=torch.float64)).tolist()
    return torch.linspace(low, high, filters + 2, dtype=torch.float64)


def mel_filters(filters: int, bins: int, sample_rate: int, low_hz: float, high_hz: float) -> Tensor:
    """Return the weight of each FFT bin in each mel filter, [used bins, filters].

    The weights are those of ``tf.signal.linear_to_mel_weight_matrix``. The edges of the triangles are equally spaced in
    mel. Each triangle starts at the peak of the previous triangle and ends at the peak of the next one. Its sides are
    straight in mel, and its height is one. The bin at 0 Hz belongs to no triangle.

    Bins above the last triangle have no weight and are left out. If the last triangle ends at 4 kHz and the spectrum at
    8 kHz, half of all bins are left out.

    Args:
        filters: number of triangles.
        bins: number of bins of the spectrum, equally spaced from 0 Hz to half the sample rate.
        sample_rate: samples per second.
        low_hz: lower edge of the first triangle in Hz.
        high_hz: upper edge of the last triangle in Hz.

    >>> mel_filters(40, 257, 16000, low_hz=20.0, high_hz=4000.0).shape
    torch.Size([128, 40])
    """
    bin_mel = hertz_to_mel(torch.linspace(0, sample_rate / 2, bins, dtype=torch.float64))[:, None]
    edges = mel_edges(filters, low_hz, high_hz)
    starts, peaks, ends = edges[:-2], edges[1:-1], edges[2:]
    rising = (bin_mel - starts) / (peaks - starts)
    falling = (ends - bin_mel) / (ends - peaks)
    weights = torch.minimum(rising, falling).clamp(min=0)
    weights[0] = 0
    weights = weights.float()
    used = weights.any(1).nonzero()
    return weights[: int(used.max()) + 1] if len(used) else weights


class FilterRuns(NamedTuple):
    """The weights of mel filters without the zeros: each filter has weights in a run of neighbouring bins.

    Args:
        first: the bin at which each filter's run begins, int32 [filters].
        starts: filter i has the weights ``weights[starts[i]:starts[i + 1]]``; int32 [filters + 1].
        weights: the weights of all runs, one after another.
    """

    first: Array
    starts: Array
    weights: Array


def filter_runs(weights: Array) -> FilterRuns:
    """Return the runs of mel filters with weights [bins, filters]; a filter without weights has an empty run.

    >>> filter_runs(np.array([[0, 5, 0], [3, 0, 0], [4, 0, 0]]))
    FilterRuns(first=array([1, 0, 0], dtype=int32), starts=array([0, 2, 3, 3], dtype=int32), weights=array([3, 4, 5]))
    """
    runs = [np.trim_zeros(column) for column in weights.T]
    return FilterRuns(
        first=(weights != 0).argmax(0).astype(np.int32),
        starts=np.cumsum([0, *map(len, runs)], dtype=np.int32),
        weights=np.concatenate(runs),
    )
