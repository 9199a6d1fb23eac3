"""Runs a stage whose parts are in int8: C operators wherever possible, LiteRT programs for the rest.

The values between parts are bytes in memory of the stage: an int8 value q is the byte q + 128. Consecutive parts that C
operators run are one call from Python, because a call takes as long as a small layer.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from gatesearch.compile import flatbuffer
from gatesearch.compile.part_quantiser import read_grids
from gatesearch.compile.signature import tensor_indices
from gatesearch.kernels.arrays import address, aligned_zeros
from gatesearch.kernels.byte_layers import PART_LAYERS, PartLayer
from gatesearch.kernels.library import Library
from gatesearch.runtime.byte_operators import ByteOperators
from gatesearch.runtime.cascade import Runnable
from gatesearch.runtime.parts_program import PartsProgram
from gatesearch.runtime.program import Program
from gatesearch.runtime.stage_operators import SIGNED, OperatorList, Unsupported
from gatesearch.runtime.stage_program import add_operators
from gatesearch.runtime.tensor_spec import TensorSpec

Array = npt.NDArray[Any]
INPUT = "input"


class BytePartsProgram:
    """A stage in int8 parts, with the interface of a :class:`~gatesearch.runtime.program.Program`.

    Args:
        parts: descriptions of the parts from the manifest.
        blobs: content of the file of each part.
        library: the compiled kernels.

    Attributes:
        calls: the C operators of each call, in order.
        values: the memory of each value between parts, by name.
        results: the memory of the outputs, in order.
        interpreted: why LiteRT runs a part in place of kernels, a line for each such part.
    """

    engine = "litert and kernels"

    def __init__(self, parts: Sequence[Mapping[str, Any]], blobs: Sequence[bytes], library: Library) -> None:
        self._library, self._steps = library, list[Callable[[], object]]()
        self._pending = ByteOperators(library)
        self.calls: list[ByteOperators] = []
        self.values: dict[str, Array] = {}
        self.interpreted: list[str] = []
        self._layers: dict[int, PartLayer] = {}
        for index, (part, blob) in enumerate(zip(parts, blobs, strict=True)):
            if part["kernel"] is None:
                self._add_program(part, blob)
            else:
                self._add_layer(index, part, blob)
        self._flush()
        self.inputs: tuple[TensorSpec, ...] = (_input_spec(parts, blobs, self.values[INPUT].shape),)
        self.results = [self.values[name] for name in parts[-1]["outputs"]]
        self.outputs: tuple[TensorSpec, ...] = tuple(
            _spec(name, self.values[name].shape, *grid)
            for name, grid in zip(parts[-1]["outputs"], read_grids(blobs[-1])[1], strict=True)
        )

    def __call__(self, x: Array) -> tuple[Array, ...]:
        """Run one window; see :meth:`gatesearch.runtime.program.Program.__call__`."""
        source = self.values[INPUT]
        if x.shape != source.shape or x.dtype != np.int8:
            raise ValueError(f"input must be int8 {list(source.shape)}, found {x.dtype} {list(x.shape)}")
        np.bitwise_xor(x.view(np.uint8), SIGNED, out=source)
        self.invoke()
        return tuple((value ^ SIGNED).view(np.int8) for value in self.results)

    def invoke(self) -> None:
        """Run the parts on the last input without copies in and out, for timing."""
        for step in self._steps:
            step()

    @property
    def in_one_call(self) -> bool:
        """Whether C operators run all parts."""
        return len(self._steps) == 1

    def _value(self, name: str, shape: Sequence[int]) -> Array:
        """Return the memory of a value; a new value gets memory of this shape."""
        if name not in self.values:
            self.values[name] = aligned_zeros(tuple(map(int, shape)), np.uint8)
        return self.values[name]

    def _add_layer(self, index: int, part: Mapping[str, Any], blob: bytes) -> None:
        with np.load(io.BytesIO(blob), allow_pickle=False) as packed:
            layer = PART_LAYERS[part["kernel"]]({name: packed[name] for name in packed.files}, self._library)
        self._layers[index] = layer
        [source], [target] = part["inputs"], part["outputs"]
        x, y = self._value(source, part["reads"]), self._value(target, (1, *layer.shape))
        before = None if part["source"] is None else self._layers[part["source"]].active
        active = before if before is not None and before.size in layer.reads else None
        self._pending.add_layer(layer, x, y, active, part["whole"])

    def _add_program(self, part: Mapping[str, Any], blob: bytes) -> None:
        try:
            self._add_operators(part, blob)
        except Unsupported as error:
            self.interpreted.append(str(error))
            self._add_interpreter(part, blob)

    def _add_operators(self, part: Mapping[str, Any], blob: bytes) -> None:
        inputs, outputs = tensor_indices(flatbuffer.read(blob))
        operators = OperatorList(blob, self._library)
        places_in = [operators.new(index).places for index in inputs]
        add_operators(operators)
        ends = [operators.contiguous(operators.tensors[index].places) for index in outputs]
        for name, places in zip(part["inputs"], places_in, strict=True):
            source = self._value(name, places.shape)
            self._pending.add_move(address(source), 0, operators.address + int(places.flat[0]), places.size)
        self._pending.add_all(operators)
        for name, places in zip(part["outputs"], ends, strict=True):
            target = self._value(name, places.shape)
            self._pending.add_move(operators.address, int(places.flat[0]), address(target), places.size)

    def _add_interpreter(self, part: Mapping[str, Any], blob: bytes) -> None:
        """Add a program that LiteRT runs, with copies of its inputs and outputs."""
        self._flush()
        program = Program(blob)
        views_in, views_out = program.memory()
        for name, view in zip(part["inputs"], views_in, strict=True):
            source = self._value(name, view.shape)
            self._steps.append(partial(np.bitwise_xor, source, SIGNED, out=view.view(np.uint8)))
        self._steps.append(program.invoke)
        for name, view in zip(part["outputs"], views_out, strict=True):
            target = self._value(name, view.shape)
            self._steps.append(partial(np.bitwise_xor, view.view(np.uint8), SIGNED, out=target))

    def _flush(self) -> None:
        """Make one call of the C operators that were added last."""
        if self._pending:
            self._steps.append(self._pending.bind())
            self.calls.append(self._pending)
            self._pending = ByteOperators(self._library)


def load_parts(parts: Sequence[Mapping[str, Any]], blobs: Sequence[bytes], library: Library) -> Runnable:
    """Return the runner of a stage in parts; see :class:`BytePartsProgram` for the arguments."""
    in_bytes = all(part.get("arithmetic", "float32") == "int8" for part in parts)
    if in_bytes:
        return BytePartsProgram(parts, blobs, library)
    return PartsProgram(parts, blobs, library)


def _input_spec(parts: Sequence[Mapping[str, Any]], blobs: Sequence[bytes], shape: tuple[int, ...]) -> TensorSpec:
    """Return the spec of the stage's input, which the first part that reads it defines."""
    part, blob = next(pair for pair in zip(parts, blobs, strict=True) if INPUT in pair[0]["inputs"])
    if part["kernel"] is None:
        return _spec(INPUT, shape, *read_grids(blob)[0][part["inputs"].index(INPUT)])
    with np.load(io.BytesIO(blob), allow_pickle=False) as packed:
        zero = int(packed["zero_in"]) if "zero_in" in packed else 0
        return _spec(INPUT, shape, float(packed["level_in"]), zero - SIGNED)


def _spec(name: str, shape: tuple[int, ...], scale: float, zero_point: int) -> TensorSpec:
    return TensorSpec(name, shape, np.dtype(np.int8), scale=scale, zero_point=zero_point)
