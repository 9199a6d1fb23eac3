"""Runs a stage's program hop by hop by C kernels, many hops in one call."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import addressof, c_int32, c_void_p

import numpy as np

from gatesearch.kernels.arrays import Array, address
from gatesearch.kernels.library import Library
from gatesearch.runtime.stage_memory import find_runs
from gatesearch.runtime.stage_operators import SIGNED, OperatorList, Unsupported
from gatesearch.runtime.stage_program import add_operators
from gatesearch.runtime.tensor_spec import TensorSpec


class CHops(ctypes.Structure):
    """The C struct ``gs_hops`` of kernels.h: the operators of a stage, its outputs and its state."""

    _fields_ = (
        ("ops", c_void_p),
        *((name, c_int32) for name in ("n_ops", "size", "n_out", "n_state", "n_out_runs", "n_state_runs")),
        *((name, c_void_p) for name in ("out_runs", "state_runs", "memory", "input", "state", "next_state")),
    )


class HopKernel:
    """An int8 program of one stage: from (frames, *state) to (outputs..., *state), or on whole windows without a state.

    The outputs equal LiteRT's bit for bit if LiteRT rounds as XNNPACK does on x86. The state is kept in the memory of
    the kernels.

    Args:
        model: content of the .tflite file.
        inputs: specs of its inputs: the frames, then the state.
        outputs: specs of its outputs; the last ones are the state of the next hop.
        axes: the time axis of the frames and that of each other output; memory has time outermost.
        library: the C kernels.

    Attributes:
        operators: the operators, with their arrays and memory.
        c: the C struct that describes the program.
        size: number of values of a hop's frames.
        widths: number of values of each output that is no state.

    Raises:
        Unsupported: no kernel computes one of the operators.
    """

    def __init__(
        self,
        model: bytes,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        axes: tuple[int, Sequence[int]],
        library: Library,
    ) -> None:
        self.operators = operators = OperatorList(model, library)
        frames, *state = (operators.find(spec.name) for spec in inputs)
        self.size = operators.new(frames, axes[0]).places.size
        places = [operators.new(tensor, tight=True).places for tensor in state]
        operators.reserve(0)
        add_operators(operators)
        results = [operators.tensors[operators.find(spec.name)] for spec in outputs]
        ends, after = results[: len(axes[1])], results[len(axes[1]) : len(axes[1]) + len(state)]
        for spec, tensor in zip(inputs[1:], after, strict=True):
            if (np.float32(spec.scale), spec.zero_point + SIGNED) != (tensor.scale, tensor.zero):
                raise Unsupported(f"the state {spec.name}, which enters and leaves with different scales")
        moved = [np.moveaxis(end.places, axis, 0).ravel() for end, axis in zip(ends, axes[1], strict=True)]
        self.widths = [len(each) for each in moved]
        self._state = slice(0, 0)
        if state:
            first = int(places[0].flat[0])
            self._state = slice(first, first + sum(each.size for each in places))
        self.c = self._describe(np.concatenate(moved), [each.places.ravel() for each in after])
        self._run = library.function("hops")

    def _describe(self, outputs: Array, state: list[Array]) -> CHops:
        operators, memory = self.operators, self.operators.memory
        program = operators.as_array()
        next_places = np.concatenate(state) if state else np.zeros(0, np.int32)
        out_runs, state_runs = (memory.copy(find_runs(places)) for places in (outputs, next_places))
        next_state = memory.take(len(next_places), np.uint8)
        operators.owners += [program, out_runs, state_runs, next_state]
        return CHops(
            ops=addressof(program),
            n_ops=len(program),
            size=self.size,
            n_out=len(outputs),
            n_state=len(next_places),
            n_out_runs=len(out_runs),
            n_state_runs=len(state_runs),
            out_runs=address(out_runs),
            state_runs=address(state_runs),
            memory=operators.address,
            input=operators.address,
            state=operators.address + self._state.start,
            next_state=address(next_state),
        )

    def run(self, frames: Array, first: int, stride: int, count: int) -> list[Array]:
        """Run hops and return their outputs without the state, int8 [count, width] each.

        Args:
            frames: int8, contiguous, time outermost.
            first: index of the first value of the first hop's frames.
            stride: number of values from one hop's frames to the next.
            count: number of hops.

        Raises:
            ValueError: the hops lie outside the frames, or these have another type or layout.
        """
        if frames.dtype != np.int8 or not frames.flags.c_contiguous:
            raise ValueError(f"frames must be int8 and contiguous, found {frames.dtype}")
        if first < 0 or stride < 0 or count < 1 or first + (count - 1) * stride + self.size > frames.size:
            raise ValueError(f"{count} hops of {self.size} values, {stride} apart from {first} on, of {frames.size}")
        out = np.empty((count, sum(self.widths)), np.int8)
        self._run(addressof(self.c), frames.ctypes.data + first, stride, count, out.ctypes.data)
        return np.split(out, np.cumsum(self.widths)[:-1], axis=1)

    @property
    def state(self) -> Array:
        """The state for the next hop, int8 [n], in the order of the program's inputs; a copy."""
        return (self.operators.buffer[self._state] ^ SIGNED).view(np.int8)

    def set_state(self, state: Array) -> None:
        """Set the state, int8 [n], all tensors in the order of the program's inputs."""
        self.operators.buffer[self._state] = state.view(np.uint8) ^ SIGNED
