"""Quantises one part of a stage to int8, with the ranges of its inputs and outputs from the caller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gatesearch._lib.plugins import need
from gatesearch._lib.tool_output import quiet
from gatesearch.compile import flatbuffer, ranges
from gatesearch.compile.signature import sort_entries
from gatesearch.compile.tflite import Array, quantise_in

Range = tuple[float, float]
LOWEST, HIGHEST = -128, 127  # the int8 values


class Grid(NamedTuple):
    """The int8 values of a tensor: an integer q represents (q - zero_point) scale."""

    scale: float
    zero_point: int

    @property
    def range(self) -> Range:
        """The values that the smallest and the largest integer represent."""
        return (LOWEST - self.zero_point) * self.scale, (HIGHEST - self.zero_point) * self.scale


def quantise_part(
    model: bytes, feeds: Sequence[Array], inputs: Sequence[Range], outputs: Sequence[Range | None]
) -> bytes:
    """Return a float .tflite of any number of inputs quantised to int8; see :func:`gatesearch.compile.tflite.quantise`.

    Args:
        model: the float model.
        feeds: samples of each input, [n, ...] in the model's layout.
        inputs, outputs: smallest and largest value of each input and output, in the order of the converted module. For
            None, they are those of the samples. The quantiser may have to widen the range of an output.

    Raises:
        ToolError: the quantiser failed.
    """
    parsed = flatbuffer.read(model)
    signature, graph = parsed.signatureDefs[0], parsed.subgraphs[0]
    need("quantisation to int8", "ai_edge_quantizer")
    with quiet("quantisation to int8"):
        from ai_edge_quantizer import calibrator, recipe, recipe_manager
        from ai_edge_quantizer.utils import qsv_utils

        manager = recipe_manager.RecipeManager()
        manager.load_quantization_recipe(recipe.static_wi8_ai8())
        calibration = calibrator.Calibrator(model, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
        names = [entry.name.decode() for entry in sort_entries(signature.inputs)]
        samples = [
            {name: feed[i : i + 1].astype(np.float32) for name, feed in zip(names, feeds, strict=True)}
            for i in range(len(feeds[0]))
        ]
        calibration.calibrate({signature.signatureKey.decode(): samples}, manager)
        observed: dict[str, dict[str, Any]] = calibration.get_model_qsvs()
    ends = [*sort_entries(signature.inputs), *sort_entries(signature.outputs)]
    for entry, ends_of_range in zip(ends, [*inputs, *outputs], strict=True):
        tensor = graph.tensors[entry.tensorIndex]
        if ends_of_range is not None:
            low, high = (np.full((1,) * len(tensor.shape), end, np.float32) for end in ends_of_range)
            observed[tensor.name.decode()] = {"min": low, "max": high}
    ranges.open_up(observed)
    return quantise_in(model, observed)


def read_grids(model: bytes) -> tuple[list[Grid], list[Grid]]:
    """Return the grids of an int8 .tflite's inputs and outputs, in the order of the converted module."""
    parsed = flatbuffer.read(model)
    signature, graph = parsed.signatureDefs[0], parsed.subgraphs[0]

    def read(entries: Sequence[Any]) -> list[Grid]:
        quantisations = [graph.tensors[entry.tensorIndex].quantization for entry in sort_entries(entries)]
        return [Grid(float(q.scale[0]), int(q.zeroPoint[0])) for q in quantisations]

    return read(signature.inputs), read(signature.outputs)
