"""The steps of a front end as data, and the functions that compute features from such data with NumPy alone.

A bundle's manifest holds the steps, so that a program in any language computes the features. docs/bundle.md explains
each step. The functions compute in double precision. A front end computes in single precision, so that a feature may
differ in its last digits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatesearch.errors import unknown
from gatesearch.frontends.grid import FEATURE_SCALE, INT8_MAX, INT8_MIN

Array = NDArray[Any]
Step = dict[str, Any]
SCALE: Step = {
    "operation": "scale",
    "divisors": {"int8": 2.0**7, "uint8": 2.0**8, "int16": 2.0**15, "int32": 2.0**31, "int64": 2.0**63},
}
"""The first step of every front end: integers are divided by their full scale, floats keep their values."""
GRID: Step = {
    "operation": "grid",
    "step": FEATURE_SCALE,
    "lowest": INT8_MIN,
    "highest": INT8_MAX,
    "ties": "even",
}
"""The last step of a front end whose features lie on an int8 grid."""


def compute_features(description: Mapping[str, Any], sample: Array) -> Array:
    """Return the features of one raw sample, float64 [*output_shape].

    Args:
        description: the front end's entry in a manifest, with ``steps``.
        sample: one raw sample, [*input_shape], in its own type.

    Raises:
        UserError: a step is unknown.
    """
    values = sample
    for step in description["steps"]:
        operation = step["operation"]
        if operation not in OPERATIONS:
            raise unknown("front end: steps", "operation", operation, OPERATIONS)
        values = OPERATIONS[operation](values, step, description)
    return values.reshape(description["output_shape"])


def count_grid_steps(description: Mapping[str, Any], sample: Array) -> Array | None:
    """Return the features of a sample in steps of their grid, before they are rounded; None if there is no grid."""
    *steps, last = description["steps"]
    if last["operation"] != "grid":
        return None
    values = compute_features({**description, "steps": steps}, sample) / last["step"]
    return values.clip(last["lowest"], last["highest"])


def _scale(values: Array, step: Mapping[str, Any], front: Mapping[str, Any]) -> Array:
    return values.astype(float) / step["divisors"].get(str(values.dtype), 1.0)


def _frames(values: Array, step: Mapping[str, Any], front: Mapping[str, Any]) -> Array:
    return np.lib.stride_tricks.sliding_window_view(values, step["length"])[:: step["stride"]]


def _window(values: Array, step: Mapping[str, Any], front: Mapping[str, Any]) -> Array:
    length = values.shape[-1]
    return values * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length))


def _spectrum(values: Array, step: Mapping[str, Any], front: Mapping[str, Any]) -> Array:
    return np.abs(np.fft.rfft(values, step["points"]))


def _mel(values: Array, step: Mapping[str, Any], front: Mapping[str, Any]) -> Array:
    hertz = step["hertz_per_bin"] * np.arange(values.shape[-1])
    mel = step["mel_factor"] * np.log1p(hertz / step["mel_hertz"])[:, None]
    edges = np.array(step["edges"])
    starts, peaks, ends = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (mel - starts) / (peaks - starts), (ends - mel) / (ends - peaks)
    result: Array = values @ np.minimum(rising, falling).clip(0)
    return result


def _log(values: Array, step: Mapping[str, Any], front: Mapping[str, Any]) -> Array:
    return np.log(values + step["offset"])


def _cosine(values: Array, step: Mapping[str, Any], front: Mapping[str, Any]) -> Array:
    bands = values.shape[-1]
    angles = np.pi / bands * np.outer(np.arange(bands) + 0.5, np.arange(step["count"]))
    result: Array = values @ np.cos(angles) * np.sqrt(2 / bands)
    return result


def _average(values: Array, step: Mapping[str, Any], front: Mapping[str, Any]) -> Array:
    count = step["count"]
    whole = len(values) // count * count
    result: Array = values[:whole].reshape(-1, count, *values.shape[1:]).mean(1)
    return result


def _level(values: Array, step: Mapping[str, Any], front: Mapping[str, Any]) -> Array:
    return values / np.sqrt(np.square(values).mean()).clip(step["least"])


def _normalise(values: Array, step: Mapping[str, Any], front: Mapping[str, Any]) -> Array:
    shape = [1] * values.ndim
    shape[step["axis"]] = -1
    mean, std = (np.array(front[name]).reshape(shape) for name in ("mean", "std"))
    return (values - mean) / std


def _grid(values: Array, step: Mapping[str, Any], front: Mapping[str, Any]) -> Array:
    return np.rint(values / step["step"]).clip(step["lowest"], step["highest"]) * step["step"]


Operation = Callable[[Array, Mapping[str, Any], Mapping[str, Any]], Array]
OPERATIONS: Mapping[str, Operation] = {
    "scale": _scale,
    "frames": _frames,
    "window": _window,
    "spectrum": _spectrum,
    "mel": _mel,
    "log": _log,
    "cosine": _cosine,
    "average": _average,
    "level": _level,
    "normalise": _normalise,
    "grid": _grid,
}
"""The function of each operation; its arguments are the values, the step and the front end's description."""
