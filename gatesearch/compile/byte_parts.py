"""Writes the parts of a stage in int8: programs quantised to int8, and gated or recurrent layers between bytes.

These layers divide a stage into parts. The stage runs in int8 if three conditions hold: int8 suits its plain layers;
every gated or recurrent layer has a kernel from bytes to bytes (:mod:`gatesearch.kernels.byte_layers`); and no gate
compares a logit of the stage. A tensor between two parts then has a grid, which is the set of 256 values that int8
represents. The grid covers the range of the calibration samples. There are two exceptions. If only precision-gated (PG)
layers of 8 bits read the tensor, the grid consists of the levels to which these layers round. The states of a recurrent
layer have a fixed grid from -1 to 1.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, fx

from gatesearch.compile.number_format import PLAIN, neediest, needs
from gatesearch.compile.part_quantiser import LOWEST, Grid, Range, quantise_part, read_grids
from gatesearch.compile.partition import INPUT, part_to_bytes
from gatesearch.compile.stage import Part, StageGraph
from gatesearch.compile.tflite import Array, Converter, channel_last
from gatesearch.kernels.byte_layers import PART_LAYERS
from gatesearch.kernels.gated_u8 import BYTE_LAYERS, LARGEST_BYTE
from gatesearch.kernels.recurrent_u8 import RecurrentBytes

RANGE_OF_ZEROS = 6.0  # upper end of the range of a value that was always zero


class PartFile(NamedTuple):
    """The file of a part, and the entry that describes it in a manifest."""

    entry: dict[str, Any]
    blob: bytes


class NotInBytes(ValueError):
    """A stage whose parts run in float32; the message is one line that says why."""


def write_parts(
    stage: StageGraph, converter: Converter, input_range: Range | None = None, listens: bool = False
) -> tuple[list[PartFile], str]:
    """Return the files of a stage's parts, in int8 if possible, and the reason if they are in float32, else "".

    Args:
        stage: the stage after all passes.
        converter: a function from a module and its examples to a float .tflite.
        input_range: smallest and largest value of an input that the front end rounds to int8; None for any other input.
        listens: whether the stage listens to a stream. Only then are recurrent layers in int8: firmware needs it. On
            other hosts their float kernels are fast enough, and more accurate.
    """
    if not stage.parts:
        return [], ""
    try:
        check_in_bytes(stage, listens)
        return _ByteParts(stage, converter, input_range).files(), ""
    except NotInBytes as error:
        reason = str(error)
    files = [
        PartFile(part.describe() | {"arithmetic": "float32"}, part_to_bytes(part, converter)) for part in stage.parts
    ]
    return files, reason


def check_in_bytes(stage: StageGraph, listens: bool = False) -> None:
    """Raise :class:`NotInBytes` for a stage in parts that does not run in int8; see :func:`write_parts`."""
    if stage.threshold is not None:
        raise NotInBytes("its gate compares a float logit")
    for part in stage.parts:
        if part.kernel is not None and part.kernel not in (PART_LAYERS if listens else BYTE_LAYERS):
            raise NotInBytes(f"the kernel {part.kernel} of {part.site} has no form in int8")
        if _needs_positive(part) and not part.positive:
            raise NotInBytes(f"inputs of {part.site} may be negative")
    if neediest(needs(part.program[0]) for part in stage.parts if part.program is not None) != PLAIN:
        raise NotInBytes("int8 suits its other layers badly")


class _ByteParts:
    """Writes the parts of a stage in int8."""

    def __init__(self, stage: StageGraph, converter: Converter, input_range: Range | None) -> None:
        self.parts, self.converter = stage.parts, converter
        self.values = _run(stage)
        self.ranges: dict[str, Range] = {name: self._range(name) for name in self.values}
        if input_range is not None:
            self.ranges[INPUT] = input_range
        self.grids: dict[str, Grid] = {}  # of the values that a part has written

    def files(self) -> list[PartFile]:
        """Return the file of each part."""
        return [
            PartFile(
                part.describe() | {"arithmetic": "int8"},
                self._program(part) if part.kernel is None else self._layer(part),
            )
            for part in self.parts
        ]

    def _range(self, name: str) -> Range:
        """Return the range of a value between parts."""
        readers = [part for part in self.parts if name in part.inputs]
        steps = [_own_step(part) for part in readers]
        if steps and None not in steps:
            return 0.0, LARGEST_BYTE * max(cast(list[float], steps))
        low, high = float(self.values[name].min()), float(self.values[name].max())
        if any(map(_needs_positive, readers)):
            low = 0.0  # the layer that reads it takes no negative values
        return min(low, 0.0), high if high > 0 or low < 0 else RANGE_OF_ZEROS

    def _program(self, part: Part) -> bytes:
        assert part.program is not None
        model = self.converter(*part.program)
        feeds = [self.values[name] for name in part.inputs]
        outputs = [self.ranges.get(name) for name in part.outputs]
        blob = quantise_part(model, feeds, [self.ranges[name] for name in part.inputs], outputs)
        for name, grid in zip(part.outputs, read_grids(blob)[1], strict=True):
            self.ranges[name], self.grids[name] = grid.range, grid
            if grid.zero_point != LOWEST and any(name in each.inputs and _needs_positive(each) for each in self.parts):
                raise NotInBytes(f"in {name}, which a kernel reads, the value {grid.zero_point} represents 0")
        return blob

    def _layer(self, part: Part) -> bytes:
        assert part.kernel is not None and part.arrays is not None
        [source], [target] = part.inputs, part.outputs
        before = self.grids.get(source) or _grid(self.ranges[source])
        kind, after = PART_LAYERS[part.kernel], Grid(self.ranges[target][1] / LARGEST_BYTE, LOWEST)
        try:
            if issubclass(kind, RecurrentBytes):
                arrays = kind.pack(part.arrays, before.scale, before.zero_point - LOWEST)
                after = Grid(kind.level_out, kind.zero_out + LOWEST)
            else:
                arrays = kind.pack(part.arrays, before.scale, after.scale)
        except ValueError as error:
            raise NotInBytes(f"{part.site}: {error}") from None
        self.ranges[target], self.grids[target] = after.range, after
        packed = io.BytesIO()
        np.savez(packed, **cast(Any, arrays))
        return packed.getvalue()


def _needs_positive(part: Part) -> bool:
    """Return whether a part is a layer whose kernel takes no negative values."""
    return part.kernel is not None and not PART_LAYERS[part.kernel].takes_any_grid


def _grid(range_: Range) -> Grid:
    """Return the int8 grid that covers a range, which includes 0."""
    scale = (range_[1] - range_[0]) / LARGEST_BYTE
    return Grid(scale, round(LOWEST - range_[0] / scale))


def _own_step(part: Part) -> float | None:
    """Return the difference of two neighbouring levels of a PG layer of 8 bits; None for any other part."""
    arrays: Mapping[str, Any] = part.arrays or {}
    return float(arrays["step"]) if "step" in arrays and int(arrays["bits"]) == 8 else None


@torch.no_grad()
def _run(stage: StageGraph) -> dict[str, Array]:
    """Return the tensors between parts for all samples of the stage, channels last, by name."""
    names = {name for part in stage.parts for name in (*part.inputs, *part.outputs)}
    body = cast(fx.GraphModule, stage.body)
    return {name: channel_last(value.numpy()) for name, value in _Values(body, names).values(stage.samples).items()}


class _Values(fx.Interpreter):
    """Runs a graph and stores the values of some nodes."""

    def __init__(self, body: fx.GraphModule, names: set[str]) -> None:
        super().__init__(body)
        self._names, self._by_name = names, dict[str, Tensor]()

    def values(self, samples: Tensor) -> dict[str, Tensor]:
        """Return the values for a batch of samples, by the names of nodes; the input is :data:`INPUT`."""
        self.run(samples)
        return self._by_name | {INPUT: samples}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name in self._names and isinstance(value, Tensor):
            self._by_name[n.name] = value
        return value
