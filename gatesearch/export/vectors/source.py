"""What test vectors are made from: a stretch of sound for a bundle that listens, or single windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class VectorSource:
    """Inputs from which test vectors are chosen.

    Args:
        windows: raw samples of a test split, [N, *input_shape].
        features: their features, channels first, [N, *shape].
        sound: a stream of sound, int16 [n]; None where there is none.
    """

    windows: Array
    features: Array
    sound: Array | None = None


@dataclass(frozen=True, eq=False)
class Vectors:
    """Test vectors.

    Args:
        kind: ``"windows"`` or ``"hops"``.
        engines: the LiteRT kernels that ran each stage, ``"litert"`` or ``"reference"``.
        inputs: raw windows [n, *input_shape], or a stretch of sound [samples].
        features: inputs of the first stage, in its type and layout: [n, *shape] for windows, [rows, *rest] for hops.
        rows: for hops, two numbers of rows of ``features``: of a window, and from one window to the next.
        decisions: one entry for each window or hop, as JSON-ready values.
    """

    kind: str
    engines: tuple[str, ...]
    inputs: Array
    features: Array
    rows: tuple[int, int] | None
    decisions: list[dict[str, Any]]


def plain(values: Array) -> list[int] | list[float]:
    """Return the values of a tensor of a program as a flat list of numbers for JSON."""
    numbers: list[Any] = np.asarray(values).ravel().tolist()
    return numbers
