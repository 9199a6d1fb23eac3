"""Runs a stage's programs by hops, and compares them with the stage's program for whole windows.

A stage has two of them. The catch-up computes a whole window, and the state from which the next hop goes on. The step
computes the new frames of a hop from this state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gatesearch.runtime.bundle import HopPrograms
from gatesearch.runtime.cascade import Array, Runnable

FLOAT_TOLERANCE = 1e-4  # for float outputs: a library may sum a smaller tensor in another order


def compare_hop_programs(program: Runnable, hops: HopPrograms, windows: Sequence[Array]) -> tuple[str, str]:
    """Return what is wrong with the step and with the catch-up of a stage; each is empty for a good program.

    The stream consists of the windows, one after the other. A step is compared at each hop of the stream.

    Args:
        program: the stage's program for whole windows.
        hops: the stage's programs by hops.
        windows: inputs of the stage, each a whole window.
    """
    count = len(program.outputs)
    state: tuple[Array, ...] = ()
    for k, window in enumerate(_slide(windows, hops)):
        expected = program(window)
        is_step = k > 0
        if is_step:
            fresh = np.take(window, range(hops.window - hops.fresh, hops.window), hops.axis)
            outputs = hops.step(np.ascontiguousarray(fresh), *state)
        else:
            outputs = hops.catch_up(window)
        if not all(equals_last_frames(*pair) for pair in zip(outputs[:count], expected, strict=True)):
            problem = f"its outputs differ from those of the whole window at hop {k} of {len(windows)} windows"
            return (problem, "") if is_step else ("", problem)
        state = outputs[count:]
    return "", ""


def equals_last_frames(output: Array, whole: Array) -> bool:
    """Compare the output of a hop with the output of the whole window; a hop may output only the last frames."""
    index = tuple(slice(size - own, None) for size, own in zip(whole.shape, output.shape, strict=True))
    if np.issubdtype(output.dtype, np.integer):
        return bool(np.array_equal(output, whole[index]))
    return bool(np.allclose(output, whole[index], rtol=FLOAT_TOLERANCE, atol=FLOAT_TOLERANCE))


def _slide(windows: Sequence[Array], hops: HopPrograms) -> Iterator[Array]:
    """Yield the window at each hop of a stream of whole windows."""
    stream = np.concatenate(list(windows), hops.axis)
    for first in range(0, stream.shape[hops.axis] - hops.window + 1, hops.fresh):
        yield np.ascontiguousarray(np.take(stream, range(first, first + hops.window), hops.axis))
