"""Operators that the converter writes as several operators: it writes SiLU as a logistic function and a product."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from gatesearch.graph.operator_log import Operand, Operation

# The ranges to which an operator of a .tflite program can clamp its own result.
FUSED_RANGES = {(0.0, math.inf), (0.0, 6.0), (-1.0, 1.0)}

INPUT = -1
Step = tuple[str, tuple[int, ...]]
# The operators that the converter writes in place of one operator, in order. Each step has a name and its sources: the
# indices of earlier steps, or INPUT. A step whose name begins with "row." computes one value for each row of the
# normalised axes.
EXPANSIONS: Mapping[str, tuple[Step, ...]] = {
    "silu": (("sigmoid", (INPUT,)), ("mul", (INPUT, 0))),
    "_prelu_kernel": (("relu", (INPUT,)), ("mul", (INPUT,)), ("mul", (1,)), ("sub", (0, 2))),
    "native_layer_norm": (
        ("row.mean", (INPUT,)),
        ("row.reshape", (0,)),
        ("squared_difference", (INPUT, 1)),
        ("row.mean", (2,)),
        ("row.add", (3,)),
        ("row.rsqrt", (4,)),
        ("row.mul", (0, 5)),
        ("row.sub", (6,)),
        ("row.reshape", (5,)),
        ("mul", (INPUT, 8)),
        ("row.reshape", (7,)),
        ("add", (9, 10)),
    ),
}


def expand(operation: Operation, numbers: Iterator[int]) -> Iterator[Operation]:
    """Yield the operators that the converter writes for an operator."""
    if operation.layer is not None:
        yield operation
        return
    steps = EXPANSIONS.get(operation.name.removesuffix("_") if operation.name.startswith("silu") else operation.name)
    if steps is None:
        yield from _clamps(operation, numbers)
        return
    [source, *_] = operation.data
    [output, *_] = operation.outputs
    written: list[Operand] = []
    for place, (name, sources) in enumerate(steps):
        is_last = place == len(steps) - 1
        shape = output.shape
        if name.startswith("row."):
            shape = shape[: len(shape) - len(operation.args[1])]
        written.append(output if is_last else Operand(next(numbers), shape))
        yield replace(
            operation,
            name=name.removeprefix("row."),
            args=tuple(source if each == INPUT else written[each] for each in sources),
            outputs=(written[-1],),
            macs=0,
            values=0,
            is_fused=False,
        )


def _clamps(operation: Operation, numbers: Iterator[int]) -> Iterator[Operation]:
    """Yield the operator; a clamp becomes a maximum and a minimum if no operator can clamp to its range."""
    limits = _range(operation)
    if limits is None or limits in FUSED_RANGES or not operation.data:
        yield operation
        return
    [source, *_] = operation.data
    sides = [name for name, limit in zip(("maximum", "minimum"), limits, strict=True) if math.isfinite(limit)]
    for name in sides:
        [output, *_] = operation.outputs
        if name != sides[-1]:
            output = Operand(next(numbers), output.shape)
        yield replace(operation, name=name, args=(source,), outputs=(output,), is_fused=False)
        source = output


def _range(operation: Operation) -> tuple[float, float] | None:
    """Return the smallest and largest result of a clamp; None for any other operator, or if the limits are tensors."""
    name = operation.name.removesuffix("_")
    numbers = [each for each in operation.args[1:3] if not isinstance(each, Operand)]
    if name not in ("clamp", "hardtanh", "clamp_min", "clamp_max") or len(numbers) < len(operation.args[1:3]):
        return None
    defaults = (-1.0, 1.0) if name == "hardtanh" else (-math.inf, math.inf)
    if name == "clamp_max":
        numbers = [None, *numbers]
    limits = [*numbers, None, None][:2]
    low, high = (default if limit is None else float(limit) for limit, default in zip(limits, defaults, strict=True))
    return low, high
