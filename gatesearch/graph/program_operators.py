"""The operators of a .tflite program, from the record of the operators that a module runs.

The program differs from the record in two ways. The converter writes some operators as several, such as SiLU as a
logistic function and a product. And the quantiser leaves some operators in float32, because their .tflite operator has
no int8 form. Such an operator reads dequantised copies of its inputs, of four bytes a value, and its result is
quantised before an int8 operator reads it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count

from torch.utils._pytree import tree_map

from gatesearch.graph.operator_log import Operand, Operation

FLOAT_BYTES = 4  # float32; indices have as many bytes, because they are int32
# Operators that the quantiser leaves in float32, and operators whose result is an index.
FLOAT = frozenset({
    "abs", "exp", "expm1", "log", "log1p", "sin", "cos", "floor", "ceil", "round", "sign", "leaky_relu", "leaky_relu_",
    "minimum", "amax", "_log_softmax", "argmax", "argmin", "embedding", "clamp_max", "clamp_max_",
})  # fmt: skip
INDICES = frozenset({"argmax", "argmin"})
# Results of these operators can be clamped by the operator itself, to these ranges only.
FUSED_RANGES = {(0.0, math.inf), (0.0, 6.0), (-1.0, 1.0)}

INPUT = -1
Step = tuple[str, tuple[int, ...]]
# Operators that the converter writes as several. A step has a name and its sources: earlier steps or the input. A step
# whose name begins with "row." computes one value for each row of the normalised axes.
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


def program_operators(
    operations: Sequence[Operation], results: Sequence[Operand], in_float: bool = False
) -> list[Operation]:
    """Return the operators of a program in the order in which they run, with the width of each tensor.

    Args:
        operations: the record of a module's operators; see :class:`gatesearch.graph.operator_log.OperatorLog`.
        results: the tensors that the module returns.
        in_float: whether the whole program stays in float32. Then all tensors have the same width, and it counts as 1.

    >>> import torch
    >>> from gatesearch.graph.operator_log import OperatorLog
    >>> module = torch.nn.Sequential(torch.nn.SiLU(), torch.nn.LeakyReLU())
    >>> with OperatorLog(module) as log:
    ...     _ = module(torch.zeros(1, 4))
    >>> [each.name for each in program_operators(log.operations(), log.results)]
    ['sigmoid', 'mul', 'dequantize', 'leaky_relu', 'quantize']
    """
    used = [operand.number for each in operations for operand in (*each.inputs, *each.outputs)]
    numbers = count(max(used, default=0) + 1)
    expanded = [step for operation in _with_slices(operations, numbers) for step in _expand(operation, numbers)]
    if in_float:
        return expanded
    return list(_with_conversions(expanded, {operand.number for operand in results}, numbers))


def is_float(operation: Operation) -> bool:
    """Say whether the quantiser leaves an operator in float32."""
    if operation.name in ("pow", "pow_"):
        return operation.args[1:] != (2,)
    return operation.name in FLOAT


def _with_slices(operations: Sequence[Operation], numbers: Iterator[int]) -> Iterator[Operation]:
    """Yield the operators, with those that copy a part of a tensor for an operator that reads this part alone.

    All copies of a tensor's parts are made before the first of them is read. A recurrent layer returns only the steps
    that are read.
    """
    written: dict[int, Operand] = {}
    reads: dict[int, list[tuple[int, int]]] = {}  # by tensor: the operators and places that read a part of it
    for index, operation in enumerate(operations):
        for place, operand in enumerate(operation.data):
            if operand.number in written and operand.numel() < written[operand.number].numel():
                reads.setdefault(operand.number, []).append((index, place))
        if operation.layer is None:
            written.update({output.number: output for output in operation.outputs})
    parts: dict[tuple[int, int], Operand] = {}
    for index, operation in enumerate(operations):
        for operand in operation.data:
            for reader, place in reads.pop(operand.number, ()):
                part = replace(operations[reader].data[place], number=next(numbers))
                parts[reader, place] = part
                yield Operation("slice", (written[operand.number],), (part,), macs=0, values=0)
        places = count()

        def read(leaf: object, index: int = index, places: Iterator[int] = places) -> object:
            is_data = isinstance(leaf, Operand) and not leaf.is_constant
            return parts.get((index, next(places)), leaf) if is_data else leaf

        yield replace(operation, args=tuple(tree_map(read, list(operation.args))))


def _expand(operation: Operation, numbers: Iterator[int]) -> Iterator[Operation]:
    """Yield the operators as which the converter writes an operator."""
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
    """Yield the operator; a clamp that no other operator can include is a maximum and a minimum."""
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
    """Return the smallest and largest result of a clamp; None for any other operator, or where they are tensors."""
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


def _with_conversions(
    operations: Sequence[Operation], results: set[int], numbers: Iterator[int]
) -> Iterator[Operation]:
    """Yield the operators, with those that dequantise and quantise between int8 and float32."""
    wide = set[int]()  # tensors of four bytes a value
    twins: dict[int, Operand] = {}  # by tensor: the same tensor in the other format

    def convert(operand: Operand, name: str) -> Iterator[Operation]:
        width = FLOAT_BYTES if name == "dequantize" else 1
        twins[operand.number] = Operand(next(numbers), operand.shape, width_bytes=width)
        yield Operation(name, (operand,), (twins[operand.number],), macs=0, values=0)

    indices = set[int]()
    for operation in operations:
        in_float = is_float(operation)
        if operation.is_fused and operation.data[0].number in wide and not in_float:
            operation = replace(operation, is_fused=False)  # the quantiser's operator stands between the two
        for operand in operation.data:
            is_wide = operand.number in wide
            if operand.number not in twins and operand.number not in indices and is_wide != in_float:
                yield from convert(_sized(operand, wide), "quantize" if is_wide else "dequantize")
        if in_float:
            wide.update(output.number for output in operation.outputs)
            if operation.name in INDICES:
                indices.update(output.number for output in operation.outputs)

        def read(leaf: object, in_float: bool = in_float) -> object:
            if not isinstance(leaf, Operand):
                return leaf
            if leaf.is_constant:
                return replace(leaf, width_bytes=FLOAT_BYTES) if in_float else leaf
            if leaf.number in twins and (leaf.number in wide) != in_float:
                return replace(twins[leaf.number], shape=leaf.shape)
            return _sized(leaf, wide)

        yield replace(
            operation,
            args=tuple(tree_map(read, list(operation.args))),
            outputs=tuple(_sized(output, wide) for output in operation.outputs),
        )
        for output in operation.outputs:
            if output.number in results and output.number in wide - indices:
                yield from convert(_sized(output, wide), "quantize")


def _sized(operand: Operand, wide: set[int]) -> Operand:
    return replace(operand, width_bytes=FLOAT_BYTES if operand.number in wide else 1)
