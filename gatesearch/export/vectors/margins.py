"""Finds inputs whose features lie at a border between two integers, where rounding errors decide.

Front ends compute in single precision, clients in any precision. If no value lies near a border, all of them round to
the same integers, and so make the same decisions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gatesearch.compile.tflite import channel_last
from gatesearch.export.vectors.source import Array
from gatesearch.frontends.feature_steps import compute_features, count_grid_steps
from gatesearch.runtime.tensor_spec import TensorSpec

FIXED_POINT = "fixed_point"  # a front end's arithmetic in integers
MARGIN_STEPS = 5e-5  # least distance from a value to a border between two integers; errors in float32 are smaller


def is_clear(description: Mapping[str, Any] | None, sample: Array, spec: TensorSpec, values: Array) -> bool:
    """Say whether any precision gives the first stage's input that the runtime computed.

    Args:
        description: the front end's entry in the manifest; None or without ``steps`` if nothing can be compared.
        sample: one raw sample, [*input_shape].
        spec: the first stage's input.
        values: the input that the runtime computed from the sample, [1, *shape].
    """
    if description is None or description.get("steps") is None or description.get("arithmetic") == FIXED_POINT:
        return True  # integers are the same everywhere
    computed = compute_features(description, sample)
    features = computed.astype(np.float32)
    if not spec.scale:
        return bool(np.allclose(channel_last(features[None]), values, rtol=1e-4, atol=1e-4))
    if not np.array_equal(spec.quantise(channel_last(features[None])), values):
        return False
    steps = count_grid_steps(description, sample)
    exact = steps if steps is not None else computed / spec.scale
    return float(np.abs(exact - np.floor(exact) - 0.5).min()) > MARGIN_STEPS
