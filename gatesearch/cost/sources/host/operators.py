"""Splits a .tflite program into its operators, each a program of its own, so that equal operators are timed once.

XNNPACK runs the operators of a program one after the other, so the time of a program is the sum over its operators. It
fuses little that the converter has not fused before. The exception is padding, which it fuses into the convolution that
reads it: those two stay one program.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

from gatesearch.compile import flatbuffer

Name = TypeVar("Name", bound=Hashable)
MAX_SPLIT_OPERATORS = 24  # a program with more operators is timed as a whole
MAX_TINY_VALUES = 512  # an operator on no more values takes about as long as the call itself
PADS = ("PAD", "PADV2")
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
COPYING = ("RESHAPE", "SLICE", "CONCATENATION")
MULTIPLYING = (*CONVOLUTIONS, "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL")


class Operator(NamedTuple):
    """One operator as a program.

    Args:
        key: equal for operators of the same kind, options and shapes, whatever their weights.
        name: the kind, such as ``CONV_2D`` or ``PAD+CONV_2D``.
        model: the .tflite program.
        family: equal for operators whose time differs only with their work.
        work: multiply-accumulates if it multiplies matrices, otherwise values read and written.
    """

    key: str
    name: str
    model: bytes
    family: tuple[Any, ...] = ()
    work: float = 0.0

    @property
    def multiplies(self) -> bool:
        """Whether it multiplies matrices on more than a few values; such operators take most of a network's time."""
        return self.name.split("+")[-1] in MULTIPLYING and self.family[0] != "few"


def take_apart(model: bytes) -> Iterator[Operator]:
    """Yield the operators of a model's main graph, in order."""
    whole = flatbuffer.read(model)
    graph, named = whole.subgraphs[0], partial(flatbuffer.operator_name, whole)
    for own in _fused_groups(graph.operators, named):
        descriptions = [_description(whole, graph, operator, named(operator)) for operator in own]
        key = hashlib.sha256(repr(descriptions).encode()).hexdigest()[:16]
        name = "+".join(map(named, own))
        family, work = _family(graph, own[-1], name, descriptions[-1])
        yield Operator(key=key, name=name, model=_submodel(whole, graph, own), family=family, work=work)


def _fused_groups(operators: Sequence[Any], named: Callable[[Any], str]) -> Iterator[tuple[Any, ...]]:
    """Yield each operator, a padding together with the convolution that is its only reader."""
    padding: tuple[Any, ...] = ()
    for operator, following in pairwise([*operators, None]):
        [output, *_] = operator.outputs
        readers = sum(output in other.inputs for other in operators)
        fusable = following is not None and named(operator) in PADS and named(following) in CONVOLUTIONS
        if fusable and following.inputs[0] == output and readers == 1:
            padding = (operator,)
            continue
        yield (*padding, operator)
        padding = ()


def _description(whole: Any, graph: Any, operator: Any, name: str) -> tuple[Any, ...]:
    tensors = [graph.tensors[i] for i in (*operator.inputs, *operator.outputs) if i >= 0]
    options = {k: _plain(v) for k, v in vars(operator.builtinOptions or object).items() if not k.startswith("_")}
    return (
        name,
        options if operator.builtinOptions is not None else {},
        [(list(t.shape), t.type, _is_constant(whole, t), _whole_numbers(whole, t)) for t in tensors],
    )


def _family(graph: Any, operator: Any, name: str, description: tuple[Any, ...]) -> tuple[tuple[Any, ...], float]:
    """Return the family of an operator, and its work.

    Within a family time is a function of work. For convolutions and products that needs the same window and options.
    """
    _, options, tensors = description
    sizes = [math.prod(shape) for shape, *_ in tensors]
    form = tensors[0][1]
    if sum(sizes) <= MAX_TINY_VALUES:
        return ("few", form), float(sum(sizes))
    if name in COPYING:
        return ("copies", form), float(sum(sizes))
    if name.split("+")[-1] not in MULTIPLYING or len(tensors) < 3 or len(tensors[1][0]) < 2:
        return (name, form), float(sum(sizes))
    timing_options = tuple(sorted((k, repr(v)) for k, v in options.items() if k != "fusedActivationFunction"))
    weights, outputs = tensors[1][0], math.prod(graph.tensors[operator.outputs[0]].shape)
    depthwise = name.endswith("DEPTHWISE_CONV_2D")
    window = weights[1:3] if len(weights) == 4 else []
    macs_per_output = math.prod(window) if depthwise else math.prod(weights[1:])
    return (name, form, tuple(window), timing_options), float(outputs * macs_per_output)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _is_constant(whole: Any, tensor: Any) -> bool:
    data = whole.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _whole_numbers(whole: Any, tensor: Any) -> bytes:
    """Return the bytes of a small integer constant (a shape or axes), which decides what the operator does."""
    data = whole.buffers[tensor.buffer].data
    return bytes(data) if _is_constant(whole, tensor) and len(data) <= 64 and tensor.type in (2, 4) else b""


def _submodel(whole: Any, graph: Any, chosen: Sequence[Any]) -> bytes:
    """Return a model of some operators only; tensors and buffers that they do not use are left out."""
    from ai_edge_litert import schema_py_generated as schema

    model, own = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs = whole.version, [own]
    model.operatorCodes = [whole.operatorCodes[operator.opcodeIndex] for operator in chosen]
    model.buffers, own.tensors = [schema.BufferT()], []
    places: dict[int, int] = {}
    for index in (index for operator in chosen for index in (*operator.inputs, *operator.outputs)):
        if index >= 0 and index not in places:
            places[index] = len(own.tensors)
            tensor = copy.copy(graph.tensors[index])
            if _is_constant(whole, tensor):
                model.buffers.append(whole.buffers[tensor.buffer])
                tensor.buffer = len(model.buffers) - 1
            else:
                tensor.buffer = 0
            own.tensors.append(tensor)
    own.operators = [copy.copy(operator) for operator in chosen]
    for code, only in enumerate(own.operators):
        only.opcodeIndex = code
        only.inputs = [places.get(index, -1) for index in only.inputs]
        only.outputs = [places[index] for index in only.outputs]
    inside = {index for operator in chosen[:-1] for index in operator.outputs}
    read = (i for operator in chosen for i in operator.inputs if i >= 0 and i not in inside)
    own.inputs = [places[index] for index in dict.fromkeys(read) if not _is_constant(whole, graph.tensors[index])]
    own.outputs = list(own.operators[-1].outputs)
    return flatbuffer.to_bytes(model)


def pieces(models: Mapping[Name, bytes]) -> tuple[dict[Name, list[str]], dict[str, Operator]]:
    """Return the keys of each model's operators, over which its time is a sum, and the operators by key.

    A model of many small operators, such as the unrolled steps of a recurrent layer, counts as one operator: alone,
    each of them would take little more than a call does.
    """
    sums: dict[Name, list[str]] = {}
    programs: dict[str, Operator] = {}
    for name, model in models.items():
        own = list(take_apart(model))
        if len(own) > MAX_SPLIT_OPERATORS:
            whole = hashlib.sha256(repr(sorted(o.key for o in own)).encode()).hexdigest()[:16]
            own = [Operator(key=whole, name="whole", model=model, family=("whole", whole))]
        programs.update({operator.key: operator for operator in own})
        sums[name] = [operator.key for operator in own]
    return sums, programs


def interpolation_weights(operators: Mapping[str, Operator], max_timings: int) -> dict[str, list[tuple[float, str]]]:
    """Choose the operators to interpolate so that ``max_timings`` remain to be timed, and return how.

    Time is taken to be linear in work between two operators of a family. The operators with the least and with the most
    work of a family are always timed. The others are interpolated in the order of the error that this risks: little
    work first, and those that multiply matrices last. More than ``max_timings`` remain if even all of them are too few.

    Returns:
        By key of an interpolated operator, the weights and keys of two timed operators of its family.
    """
    families: dict[tuple[Any, ...], list[Operator]] = {}
    for operator in sorted(operators.values(), key=lambda o: (o.work, o.key)):
        families.setdefault(operator.family, []).append(operator)
    between = [operator for family in families.values() for operator in family[1:-1]]
    between.sort(key=lambda o: (o.multiplies, o.work))
    interpolated = {operator.key for operator in between[: max(0, len(operators) - max_timings)]}
    weights = {}
    for family in families.values():
        timed = [operator for operator in family if operator.key not in interpolated]
        for operator in family:
            if operator.key in interpolated:
                low, high = next((a, b) for a, b in pairwise(timed) if a.work <= operator.work <= b.work)
                share = (operator.work - low.work) / (high.work - low.work) if high.work > low.work else 0.0
                weights[operator.key] = [(1 - share, low.key), (share, high.key)]
    return weights
