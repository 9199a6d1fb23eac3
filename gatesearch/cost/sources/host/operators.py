"""A .tflite program taken apart: each operator as a program of its own, so that equal ones are timed once.

XNNPACK runs the operators of a program one after the other and fuses little beyond what the converter fused already, so
that a program takes as long as its operators do. What it does fuse is padding, into the convolution behind it: those
two stay together.
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
MOST = 24  # operators of a program that is taken apart
FEW = 512  # values: an operator that touches no more takes what the call takes
PADS = ("PAD", "PADV2")
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
COPYING = ("RESHAPE", "SLICE", "CONCATENATION")
MULTIPLYING = (*CONVOLUTIONS, "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL")


class Operator(NamedTuple):
    """One operator as a program.

    Args:
        key: equal for operators of one kind, with the same options and shapes, whatever their weights.
        name: of its kind, such as ``CONV_2D``, or ``PAD+CONV_2D``.
        model: the program.
        family: of operators whose time goes with their work alone.
        work: multiply-accumulates where it multiplies, else values read and written.
    """

    key: str
    name: str
    model: bytes
    family: tuple[Any, ...] = ()
    work: float = 0.0

    @property
    def multiplies(self) -> bool:
        """Whether most of the time goes into it and its like."""
        return self.name.split("+")[-1] in MULTIPLYING and self.family[0] != "few"


def taken_apart(model: bytes) -> Iterator[Operator]:
    """Yield the operators of a model's main graph, in order."""
    whole = flatbuffer.read(model)
    graph, named = whole.subgraphs[0], partial(flatbuffer.operator_name, whole)
    for own in _together(graph.operators, named):
        described = [_described(whole, graph, operator, named(operator)) for operator in own]
        key = hashlib.sha256(repr(described).encode()).hexdigest()[:16]
        name = "+".join(map(named, own))
        family, work = _family(graph, own[-1], name, described[-1])
        yield Operator(key, name, _alone(whole, graph, own), family, work)


def _together(operators: Sequence[Any], named: Callable[[Any], str]) -> Iterator[tuple[Any, ...]]:
    """Yield operators one by one, a padding with the convolution that alone reads it."""
    held: tuple[Any, ...] = ()
    for operator, behind in pairwise([*operators, None]):
        [written, *_] = operator.outputs
        readers = sum(written in other.inputs for other in operators)
        fused = behind is not None and named(operator) in PADS and named(behind) in CONVOLUTIONS
        if fused and behind.inputs[0] == written and readers == 1:
            held = (operator,)
            continue
        yield (*held, operator)
        held = ()


def _described(whole: Any, graph: Any, operator: Any, name: str) -> tuple[Any, ...]:
    tensors = [graph.tensors[i] for i in (*operator.inputs, *operator.outputs) if i >= 0]
    options = {k: _plain(v) for k, v in vars(operator.builtinOptions or object).items() if not k.startswith("_")}
    return (
        name,
        options if operator.builtinOptions is not None else {},
        [(list(t.shape), t.type, _is_constant(whole, t), _whole_numbers(whole, t)) for t in tensors],
    )


def _family(graph: Any, operator: Any, name: str, described: tuple[Any, ...]) -> tuple[tuple[Any, ...], float]:
    """Return what has to be equal for times to go with work, and the work."""
    _, options, tensors = described
    sizes = [math.prod(shape) for shape, *_ in tensors]
    form = tensors[0][1]
    if sum(sizes) <= FEW:
        return ("few", form), float(sum(sizes))
    if name in COPYING:
        return ("copies", form), float(sum(sizes))
    if name.split("+")[-1] not in MULTIPLYING or len(tensors) < 3 or len(tensors[1][0]) < 2:
        return (name, form), float(sum(sizes))
    kept = tuple(sorted((k, repr(v)) for k, v in options.items() if k != "fusedActivationFunction"))
    weights, written = tensors[1][0], math.prod(graph.tensors[operator.outputs[0]].shape)
    depthwise = name.endswith("DEPTHWISE_CONV_2D")
    reach = weights[1:3] if len(weights) == 4 else []
    each = math.prod(reach) if depthwise else math.prod(weights[1:])
    return (name, form, tuple(reach), kept), float(written * each)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _is_constant(whole: Any, tensor: Any) -> bool:
    data = whole.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _whole_numbers(whole: Any, tensor: Any) -> bytes:
    """Return a constant that is a shape or a list of axes: it decides what the operator does."""
    data = whole.buffers[tensor.buffer].data
    return bytes(data) if _is_constant(whole, tensor) and len(data) <= 64 and tensor.type in (2, 4) else b""


def _alone(whole: Any, graph: Any, chosen: Sequence[Any]) -> bytes:
    from ai_edge_litert import schema_py_generated as schema

    made, own = schema.ModelT(), schema.SubGraphT()
    made.version, made.subgraphs = whole.version, [own]
    made.operatorCodes = [whole.operatorCodes[operator.opcodeIndex] for operator in chosen]
    made.buffers, own.tensors = [schema.BufferT()], []
    places: dict[int, int] = {}
    for index in (index for operator in chosen for index in (*operator.inputs, *operator.outputs)):
        if index >= 0 and index not in places:
            places[index] = len(own.tensors)
            tensor = copy.copy(graph.tensors[index])
            if _is_constant(whole, tensor):
                made.buffers.append(whole.buffers[tensor.buffer])
                tensor.buffer = len(made.buffers) - 1
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
    return flatbuffer.to_bytes(made)


def pieces(models: Mapping[Name, bytes]) -> tuple[dict[Name, list[str]], dict[str, Operator]]:
    """Return, for each model, what its time is the sum of, and each of these.

    A model of many small operators, such as the unrolled steps of a recurrent layer, is one piece: what each of them
    takes by itself would be mostly the call.
    """
    sums: dict[Name, list[str]] = {}
    programs: dict[str, Operator] = {}
    for name, model in models.items():
        own = list(taken_apart(model))
        if len(own) > MOST:
            whole = hashlib.sha256(repr(sorted(o.key for o in own)).encode()).hexdigest()[:16]
            own = [Operator(whole, "whole", model, ("whole", whole))]
        programs.update({operator.key: operator for operator in own})
        sums[name] = [operator.key for operator in own]
    return sums, programs


def stand_ins(operators: Mapping[str, Operator], most: int) -> dict[str, list[tuple[float, str]]]:
    """Return the operators that need not be timed for ``most`` to be left, with what each is worked out of.

    Within a family the least and the most work are timed; of what lies between, those with the least work go first,
    and those that multiply last. Where ``most`` cannot be reached, all that can be spared is.

    Returns:
        By key: two timed operators of the family, each with its weight.
    """
    families: dict[tuple[Any, ...], list[Operator]] = {}
    for operator in sorted(operators.values(), key=lambda o: (o.work, o.key)):
        families.setdefault(operator.family, []).append(operator)
    between = [operator for family in families.values() for operator in family[1:-1]]
    between.sort(key=lambda o: (o.multiplies, o.work))
    spared = {operator.key for operator in between[: max(0, len(operators) - most)]}
    found = {}
    for family in families.values():
        timed = [operator for operator in family if operator.key not in spared]
        for operator in family:
            if operator.key in spared:
                low, high = next((a, b) for a, b in pairwise(timed) if a.work <= operator.work <= b.work)
                share = (operator.work - low.work) / (high.work - low.work) if high.work > low.work else 0.0
                found[operator.key] = [(1 - share, low.key), (share, high.key)]
    return found
