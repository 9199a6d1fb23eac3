"""Posteriors of a program's outputs, computed so that firmware gets the same numbers bit for bit."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from gatesearch.runtime.cascade import Array
from gatesearch.runtime.tensor_spec import TensorSpec

VALUES = 256  # number of possible differences between the largest int8 output and another one


def read_posteriors(outputs: Array, spec: TensorSpec) -> Array:
    """Return the posteriors of the outputs of hops, float32 [hops, classes].

    The posterior of a class is exp(x_c - max x) / sum_i exp(x_i - max x). Outputs are multiples of the scale s, so a
    difference of int8 outputs is d s with d from 0 to 255. The exponentials come from a table of these 256 values. The
    sum adds the classes in order. A C program with the same table computes equal numbers, and needs no library's exp.

    Args:
        outputs: outputs of the last stage or of an exit, [hops, *shape], in the type of the program.
        spec: the spec of the output.

    >>> spec = TensorSpec("logits", (1, 2), np.dtype(np.int8), scale=0.5, zero_point=0)
    >>> read_posteriors(np.array([[[3, 1]]], np.int8), spec).round(3).tolist()
    [[0.7310000061988831, 0.26899999380111694]]
    """
    values = outputs.reshape(len(outputs), -1)
    if values.dtype != np.int8:
        return softmax(spec.dequantise(values))
    steps = values.astype(np.int32)
    powers = list_powers(spec.scale)[steps.max(1, keepdims=True) - steps]
    total = powers[:, 0].copy()
    for column in powers.T[1:]:
        total += column
    result: Array = powers / total[:, None]
    return result


@lru_cache(16)
def list_powers(scale: float) -> Array:
    """Return exp(-scale d) for d from 0 to 255, float32 [256]."""
    return np.exp(-float(np.float32(scale)) * np.arange(VALUES)).astype(np.float32)


def softmax(logits: Array) -> Array:
    """Return the posteriors of logits, [hops, classes]."""
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(exponents / exponents.sum(1, keepdims=True))
