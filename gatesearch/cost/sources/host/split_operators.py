"""Splits a .tflite model into models of one operator, so that equal operators are timed once.

XNNPACK, LiteRT's library of kernels, runs the operators of a model one after the other. So the time of a model is the
sum over its operators. Besides the fusions of the converter, XNNPACK only fuses padding into the convolution that reads
it; these two operators stay in one model.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

from gatesearch.compile import flatbuffer

Name = TypeVar("Name", bound=Hashable)
MAX_SPLIT_OPERATORS = 24  # a model with more operators is timed as a whole
MAX_TINY_VALUES = 512  # an operator on at most so many values takes about as long as the call itself
MAX_SHAPE_BYTES = 64  # an integer constant of at most so many bytes is a shape, axes or the like
INT32, INT64 = 2, 4  # TensorType in the schema of .tflite models
PAD_OPS = ("PAD", "PADV2")
CONVOLUTION_OPS = ("CONV_2D", "DEPTHWISE_CONV_2D")
COPY_OPS = ("RESHAPE", "SLICE", "CONCATENATION")
MATMUL_OPS = (*CONVOLUTION_OPS, "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL")


class Operator(NamedTuple):
    """One operator as a model.

    Args:
        key: a key that is equal for operators with equal times. Such operators have the same kind and options, the same
            shapes and types of inputs and outputs, and constants at the same positions. Their short integer constants
            (a shape, axes) have the same values. Weights do not matter.
        name: the kind, such as ``CONV_2D`` or ``PAD+CONV_2D``.
        model: the .tflite model.
        family: a key of all operators whose times differ only because their work differs.
        work: multiply-accumulates if the operator multiplies matrices, otherwise values read and written.
    """

    key: str
    name: str
    model: bytes
    family: tuple[Any, ...] = ()
    work: float = 0.0

    @property
    def is_large_matmul(self) -> bool:
        """Whether the operator multiplies matrices of more than a few values; these take most of a network's time."""
        return self.name.split("+")[-1] in MATMUL_OPS and self.family[0] != "few"


def split(model: bytes) -> Iterator[Operator]:
    """Yield the operators of a model's main graph, in order."""
    parsed = flatbuffer.read(model)
    graph, name_of = parsed.subgraphs[0], partial(flatbuffer.operator_name, parsed)
    for group in _fused_groups(graph.operators, name_of):
        descriptions = [_description(parsed, graph, operator, name_of(operator)) for operator in group]
        key = hashlib.sha256(repr(descriptions).encode()).hexdigest()[:16]
        name = "+".join(map(name_of, group))
        family, work = _family(graph, group[-1], name, descriptions[-1])
        yield Operator(key=key, name=name, model=_submodel(parsed, graph, group), family=family, work=work)


def _fused_groups(operators: Sequence[Any], name_of: Callable[[Any], str]) -> Iterator[tuple[Any, ...]]:
    """Yield each operator, a padding together with the convolution that is its only reader."""
    padding: tuple[Any, ...] = ()
    for operator, following in pairwise([*operators, None]):
        [output, *_] = operator.outputs
        readers = sum(output in other.inputs for other in operators)
        fusable = following is not None and name_of(operator) in PAD_OPS and name_of(following) in CONVOLUTION_OPS
        if fusable and following.inputs[0] == output and readers == 1:
            padding = (operator,)
            continue
        yield (*padding, operator)
        padding = ()


def _description(parsed: Any, graph: Any, operator: Any, name: str) -> tuple[Any, ...]:
    """Return everything that decides an operator's time: name, options, and a description of each input and output.

    A tensor's description is its shape, its type, whether it is constant, and its bytes if it is a short integer
    constant.
    """
    tensors = [graph.tensors[i] for i in (*operator.inputs, *operator.outputs) if i >= 0]  # -1: no optional input
    options = {}
    if operator.builtinOptions is not None:
        fields = vars(operator.builtinOptions).items()
        options = {field: _as_plain_value(value) for field, value in fields if not field.startswith("_")}
    return (
        name,
        options,
        [(list(t.shape), t.type, flatbuffer.is_constant(parsed, t), _small_integer_bytes(parsed, t)) for t in tensors],
    )


def _family(graph: Any, operator: Any, name: str, description: tuple[Any, ...]) -> tuple[tuple[Any, ...], float]:
    """Return the family of an operator, and its work.

    Within a family time is a function of work. Convolutions and matrix products share a family only with equal kernel
    size and options.
    """
    _, options, tensors = description
    sizes = [math.prod(shape) for shape, *_ in tensors]
    dtype = tensors[0][1]
    if sum(sizes) <= MAX_TINY_VALUES:
        return ("few", dtype), float(sum(sizes))
    if name in COPY_OPS:
        return ("copies", dtype), float(sum(sizes))
    if name.split("+")[-1] not in MATMUL_OPS or len(tensors) < 3 or len(tensors[1][0]) < 2:
        return (name, dtype), float(sum(sizes))
    timing_options = tuple(sorted((k, repr(v)) for k, v in options.items() if k != "fusedActivationFunction"))
    weights, outputs = tensors[1][0], math.prod(graph.tensors[operator.outputs[0]].shape)
    depthwise = name.endswith("DEPTHWISE_CONV_2D")
    kernel_size = weights[1:3] if len(weights) == 4 else []
    macs_per_output = math.prod(kernel_size) if depthwise else math.prod(weights[1:])
    return (name, dtype, tuple(kernel_size), timing_options), float(outputs * macs_per_output)


def _as_plain_value(value: Any) -> Any:
    """Return an option's value with arrays as lists, whose ``repr`` is complete."""
    return value.tolist() if hasattr(value, "tolist") else value


def _small_integer_bytes(parsed: Any, tensor: Any) -> bytes:
    """Return the bytes of a small integer constant (a shape or axes), which decides what the operator does."""
    if not flatbuffer.is_constant(parsed, tensor) or tensor.type not in (INT32, INT64):
        return b""
    data = parsed.buffers[tensor.buffer].data
    return bytes(data) if len(data) <= MAX_SHAPE_BYTES else b""


def _submodel(parsed: Any, graph: Any, subset: Sequence[Any]) -> bytes:
    """Return a model that has only the given operators, which are consecutive."""
    internal = {index for operator in subset[:-1] for index in operator.outputs}
    read = (index for operator in subset for index in operator.inputs if index >= 0 and index not in internal)
    variables = [index for index in dict.fromkeys(read) if not flatbuffer.is_constant(parsed, graph.tensors[index])]
    return flatbuffer.submodel(parsed, variables, list(subset[-1].outputs))


def split_all(models: Mapping[Name, bytes]) -> tuple[dict[Name, list[str]], dict[str, Operator]]:
    """Split several models into their distinct operators.

    A model of many small operators, such as the unrolled steps of a recurrent layer, counts as one operator. As
    programs of their own, such operators would take little more time than the call itself.

    Returns:
        By model, the keys of its operators, whose times add up to the time of the model; and the operators by key.
    """
    sums: dict[Name, list[str]] = {}
    by_key: dict[str, Operator] = {}
    for name, model in models.items():
        operators = list(split(model))
        if len(operators) > MAX_SPLIT_OPERATORS:
            key = hashlib.sha256(repr(sorted(operator.key for operator in operators)).encode()).hexdigest()[:16]
            operators = [Operator(key=key, name="whole", model=model, family=("whole", key))]
        by_key.update({operator.key: operator for operator in operators})
        sums[name] = [operator.key for operator in operators]
    return sums, by_key


def interpolation_weights(operators: Mapping[str, Operator], max_timings: int) -> dict[str, list[tuple[float, str]]]:
    """Choose operators to interpolate, so that at most ``max_timings`` are timed if possible, and return their weights.

    Between two operators of a family, time is assumed to be linear in work. The operators with the least and with the
    most work of a family are always timed, even if they are more than ``max_timings``. Of the others, the operators
    with the smallest expected error are interpolated first. So large matrix products come after all other operators,
    and operators with much work come after operators with little work.

    Returns:
        By key of an interpolated operator, the weights and keys of two timed operators of its family.
    """
    families: dict[tuple[Any, ...], list[Operator]] = {}
    for operator in sorted(operators.values(), key=lambda o: (o.work, o.key)):
        families.setdefault(operator.family, []).append(operator)
    interior = [operator for family in families.values() for operator in family[1:-1]]
    interior.sort(key=lambda o: (o.is_large_matmul, o.work))
    interpolated = {operator.key for operator in interior[: max(0, len(operators) - max_timings)]}
    weights = {}
    for family in families.values():
        timed = [operator for operator in family if operator.key not in interpolated]
        for operator in family:
            if operator.key in interpolated:
                low, high = next((a, b) for a, b in pairwise(timed) if a.work <= operator.work <= b.work)
                share = (operator.work - low.work) / (high.work - low.work) if high.work > low.work else 0.0
                weights[operator.key] = [(1 - share, low.key), (share, high.key)]
    return weights
