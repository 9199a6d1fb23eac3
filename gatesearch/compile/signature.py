"""The inputs and outputs of a .tflite model in the order of the converted module's arguments and results.

The converter names them in the model's signature: inputs ``args_0``, ``args_1`` ... ``args_10``, and outputs
``output_0``, ``output_1`` ... The graph may list them in another order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from gatesearch.compile import flatbuffer


def read_number(name: str) -> int:
    """Return the number in the name of a signature's entry; 0 for a name without a number.

    >>> sorted(["args_10", "args_9", "args_0"], key=read_number)
    ['args_0', 'args_9', 'args_10']
    """
    return int(re.sub(r"\D", "", name) or 0)


def sort_entries(entries: Sequence[Any]) -> list[Any]:
    """Return the entries of a signature by number."""
    return sorted(entries, key=lambda entry: read_number(entry.name.decode()))


def tensor_indices(parsed: Any) -> tuple[list[int], list[int]]:
    """Return the indices of a model's inputs and outputs, in the order of the converted module."""
    [signature] = parsed.signatureDefs
    inputs, outputs = (
        [int(entry.tensorIndex) for entry in sort_entries(ends)] for ends in (signature.inputs, signature.outputs)
    )
    return inputs, outputs


def describe_signature(model: bytes) -> dict[str, list[dict[str, Any]]]:
    """Return the inputs and outputs of a model in the order of the converted module, for a manifest.

    Each entry holds the name in the model's signature, and the position among the inputs or outputs of the graph, by
    which an interpreter without signatures finds the tensor.
    """
    parsed = flatbuffer.read(model)
    graph, [signature] = parsed.subgraphs[0], parsed.signatureDefs
    return {
        "inputs": _describe(signature.inputs, graph.inputs),
        "outputs": _describe(signature.outputs, graph.outputs),
    }


def _describe(entries: Sequence[Any], tensors: Sequence[int]) -> list[dict[str, Any]]:
    positions = {int(tensor): position for position, tensor in enumerate(tensors)}
    return [
        {"name": entry.name.decode(), "position": positions[int(entry.tensorIndex)]} for entry in sort_entries(entries)
    ]


def restore_outputs(model: bytes) -> bytes:
    """Return an int8 model whose graph returns the tensors that its signature names.

    A grid is the scale and the zero point of a quantised tensor. An operator may read an output of the model with
    another grid than the output's own, such as the grid of a concatenation. The quantiser then inserts a conversion
    before that operator. It also makes the converted copy an output of the graph, although the signature still names
    the original tensor. No engine can then run the signature. The original tensor has the grid that the quantiser chose
    for the output.

    Args:
        model: the model that the quantiser wrote.
    """
    parsed = flatbuffer.read(model)
    graph, (_, outputs) = parsed.subgraphs[0], tensor_indices(parsed)
    if set(outputs) == set(map(int, graph.outputs)):
        return model
    graph.outputs = outputs
    return flatbuffer.to_bytes(parsed)
