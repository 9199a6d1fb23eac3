"""Converts several modules to .tflite in one conversion and splits the result, which saves time.

A conversion takes about a second even for a small module, because the converter collects the decompositions of all
operators again at each of its steps. Pricing a backbone takes dozens of small programs, so these share conversions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gatesearch._lib.tool_output import ToolError
from gatesearch.compile import flatbuffer
from gatesearch.compile.signature import tensor_indices
from gatesearch.compile.tflite import Converter, convert

BatchConverter = Callable[[Sequence[nn.Module], Sequence[Tensor]], list[bytes]]
"""A function that makes a float .tflite of each module, given an example of its input, as :func:`convert_all` does."""


class _SideBySide(nn.Module):
    """Applies each module to its own input, and returns the outputs of all modules, one after the other."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        # Copies, because modules may share layers, and conversion rewrites each module in its own way.
        self.parts = nn.ModuleList(copy.deepcopy(module) for module in modules)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        outputs: list[Tensor] = []
        for part, x in zip(self.parts, inputs, strict=True):
            outputs += _as_list(part(x))
        return tuple(outputs)


def convert_all(modules: Sequence[nn.Module], examples: Sequence[Tensor]) -> list[bytes]:
    """Return the .tflite model of each module, as :func:`.tflite.convert` writes it, from one conversion.

    Args:
        modules: modules that each take one tensor [1, ...]; copies of them are converted, in evaluation mode.
        examples: an input of each module.

    Raises:
        ToolError: the converter cannot convert one of them.
    """
    if len(modules) < 2:
        return one_by_one(convert)(modules, examples)
    with torch.no_grad():
        counts = [len(_as_list(module.eval()(x))) for module, x in zip(modules, examples, strict=True)]
    try:
        # Each module gets a copy of its example, because torch.export merges inputs that are the same tensor.
        model = convert(_SideBySide(modules), [example.clone() for example in examples])
    except ToolError:  # in a conversion of its own, the module that cannot be converted raises its own error
        return one_by_one(convert)(modules, examples)
    return list(_cut_apart(model, counts))


def one_by_one(converter: Converter) -> BatchConverter:
    """Return a batch converter that calls a converter for each module."""
    return lambda modules, examples: [converter(module, [x]) for module, x in zip(modules, examples, strict=True)]


def _cut_apart(model: bytes, counts: Sequence[int]) -> Iterator[bytes]:
    """Yield a model for each input, in order; ``counts`` are the numbers of outputs that belong to each input."""
    parsed = flatbuffer.read(model)
    inputs, outputs = tensor_indices(parsed)
    first = 0
    for index, count in enumerate(counts):
        yield flatbuffer.submodel(parsed, [inputs[index]], outputs[first : first + count])
        first += count


def _as_list(returned: Any) -> list[Tensor]:
    return [returned] if isinstance(returned, Tensor) else list(returned)
