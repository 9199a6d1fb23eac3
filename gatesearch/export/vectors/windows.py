"""Test vectors of single windows: features, logits of gates, answer and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from gatesearch.export.vectors.margins import is_clear
from gatesearch.export.vectors.source import Array, Vectors, VectorSource, plain
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.cascade import Runnable, requantise

MAX_SEARCHED = 100  # windows among which vectors are chosen
MAX_WINDOWS = 12
MAX_INPUT_BYTES = 64 * 1024  # bytes of raw inputs; one window is written in any case


def choose_windows(bundle: Bundle, source: VectorSource) -> Vectors:
    """Return the vectors of some windows, among them windows that leave at each gate and at none."""
    description, spec = bundle.manifest.get("frontend"), bundle.programs[0].inputs[0]
    by_exit: dict[int, list[int]] = {}
    for index, (sample, features) in enumerate(zip(source.windows, source.features, strict=True)):
        if index == MAX_SEARCHED:
            break
        values = bundle.quantise(features)
        if is_clear(description, sample, spec, values):
            by_exit.setdefault(bundle.run(values).exit, []).append(index)
    indices = _take_turns(list(by_exit.values())) or list(range(len(source.windows)))
    count = max(1, min(MAX_WINDOWS, MAX_INPUT_BYTES // max(1, source.windows[0].nbytes)))
    chosen = sorted(indices[:count])
    values = np.concatenate([bundle.quantise(source.features[index]) for index in chosen])
    return Vectors(
        kind="windows",
        engines=tuple(program.engine for program in bundle.programs),
        inputs=source.windows[chosen],
        features=values,
        rows=None,
        decisions=decide_windows(bundle, values),
    )


def decide_windows(bundle: Bundle, values: Array) -> list[dict[str, Any]]:
    """Return the decision on each window, from inputs of the first stage [n, *shape]."""
    return [_decide(bundle, window) for window in np.split(values, len(values))]


def _decide(bundle: Bundle, hidden: Array) -> dict[str, Any]:
    answer = bundle.run(hidden)
    return {
        "gates": list(answer.gate_logits),
        "exit": answer.exit,
        "class": answer.label,
        "outputs": None if answer.logits is None else plain(_run_last(bundle, hidden, answer.exit)),
    }


def _run_last(bundle: Bundle, hidden: Array, exit: int) -> Array:
    """Return the output of the last program that a window runs, as that program returns it."""
    path: list[Runnable] = list(bundle.programs[: exit + 1])
    light = bundle.exits[exit] if exit < len(bundle.exits) else None
    if light is not None:
        path.append(light)
    outputs = path[0](hidden)
    for program, following in pairwise(path):
        outputs = following(requantise(outputs[0], program.outputs[0], following.inputs[0]))
    return outputs[0]


def _take_turns(groups: Sequence[list[int]]) -> list[int]:
    """Return the members of all groups, one of each group in turn.

    >>> _take_turns([[1, 2, 3], [7]])
    [1, 7, 2, 3]
    """
    longest = max(map(len, groups), default=0)
    return [group[turn] for turn in range(longest) for group in groups if turn < len(group)]
