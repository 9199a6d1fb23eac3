"""The sound of the test stream, for measurements, golden vectors and test vectors."""

from __future__ import annotations

import numpy as np

from gatesearch.data import StreamDataset
from gatesearch.pipeline.problem import Problem


def read_test_sound(problem: Problem) -> np.ndarray | None:
    """Return the samples of the test stream, int16 [n]; None where it is no stream of sound."""
    data = problem.data
    if not isinstance(data, StreamDataset):
        return None
    samples = np.asarray(data.streams["test"].samples)
    return samples if samples.ndim == 1 and samples.dtype == np.int16 else None
