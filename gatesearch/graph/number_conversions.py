"""The operators of an int8 program that convert between int8 and float32.

The quantiser leaves some operators in float32, because their .tflite operator has no int8 form. Such an operator reads
dequantised copies of its inputs, of four bytes a value, and its result is quantised before an int8 operator reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch.utils._pytree import tree_map

from gatesearch.graph.operator_log import Operand, Operation

FLOAT_BYTES = 4  # float32; indices have as many bytes, because they are int32
# Operators that the quantiser leaves in float32, and operators whose result is an index.
FLOAT = frozenset({
    "abs", "exp", "expm1", "log", "log1p", "sin", "cos", "floor", "ceil", "round", "sign", "leaky_relu", "leaky_relu_",
    "minimum", "amax", "_log_softmax", "argmax", "argmin", "embedding", "clamp_max", "clamp_max_",
})  # fmt: skip
INDICES = frozenset({"argmax", "argmin"})


def is_float(operation: Operation) -> bool:
    """Say whether the quantiser leaves an operator in float32."""
    if operation.name in ("pow", "pow_"):
        return operation.args[1:] != (2,)
    return operation.name in FLOAT


def with_conversions(operations: Sequence[Operation], results: set[int], numbers: Iterator[int]) -> Iterator[Operation]:
    """Yield the operators, and between them the operators that convert tensors from int8 to float32 and back.

    Args:
        operations: the operators in the order in which they run.
        results: the numbers of the tensors that the program returns.
        numbers: numbers for new tensors.
    """
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
            operation = replace(operation, is_fused=False)  # an operator that quantises stands between the two
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
