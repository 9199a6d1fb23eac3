"""Runs a stage that is split into parts: LiteRT programs and native kernels in turn."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from gatesearch.runtime.program import Program
from gatesearch.runtime.tensor_spec import TensorSpec

Array = npt.NDArray[Any]


class PartsProgram:
    """A stage in parts, with the interface of a :class:`~gatesearch.runtime.program.Program`.

    A part reads the tensors of earlier parts in place. A tensor is copied only if a LiteRT program reads it from
    the program's own memory.

    Args:
        parts: descriptions of the parts from the manifest.
        blobs: content of the file of each part.
        library: the native kernels.
    """

    engine = "litert and kernels"

    def __init__(self, parts: Sequence[Mapping[str, Any]], blobs: Sequence[bytes], library: Any) -> None:
        runners: list[Any] = [
            Program(blob) if part["kernel"] is None else _kernel(part["kernel"], blob, library)
            for part, blob in zip(parts, blobs, strict=True)
        ]
        self._runners = runners  # keeps the runners alive, because their memory lives as long as they do
        values = _program_memory(parts, runners)
        self._steps = list[Callable[[], object]]()
        for part, runner in zip(parts, runners, strict=True):
            if isinstance(runner, Program):
                self._steps += _copies(part, runner, values)
                self._steps.append(runner.invoke)
            else:
                self._steps += _kernel_calls(part, runner, runners, values)
        self._input = values["input"]
        self.inputs: tuple[TensorSpec, ...] = (
            TensorSpec("input", self._input.shape, np.dtype(np.float32), scale=0.0, zero_point=0),
        )
        self.outputs: tuple[TensorSpec, ...] = runners[-1].outputs
        self._outputs = runners[-1].memory()[1]

    def __call__(self, x: Array) -> tuple[Array, ...]:
        """Run one window; see :meth:`gatesearch.runtime.program.Program.__call__`."""
        if x.shape != self._input.shape or x.dtype != np.float32:
            raise ValueError(f"input must be float32 {list(self._input.shape)}, found {x.dtype} {list(x.shape)}")
        np.copyto(self._input, x)
        self.invoke()
        return tuple(view.copy() for view in self._outputs)

    def invoke(self) -> None:
        """Run the parts on the last input without copies in and out, for timing."""
        for step in self._steps:
            step()


def _program_memory(parts: Sequence[Mapping[str, Any]], runners: Sequence[Any]) -> dict[str, Array]:
    """Return the memory of each tensor that a program writes or reads, by name.

    A tensor lies in the memory of the program that writes it, or else of the first program that reads it.
    """
    values: dict[str, Array] = {}
    programs = [(part, runner) for part, runner in zip(parts, runners, strict=True) if isinstance(runner, Program)]
    for part, program in programs:
        values.update(zip(part["outputs"], program.memory()[1], strict=True))
    for part, program in programs:
        for name, view in zip(part["inputs"], program.memory()[0], strict=True):
            values.setdefault(name, view)
    return values


def _copies(part: Mapping[str, Any], program: Program, values: Mapping[str, Array]) -> list[Callable[[], object]]:
    """Return calls that copy tensors into the memory where the program reads them."""
    memory = zip(part["inputs"], program.memory()[0], strict=True)
    return [partial(np.copyto, view, values[name]) for name, view in memory if values[name] is not view]


def _kernel_calls(
    part: Mapping[str, Any], kernel: Any, runners: Sequence[Any], values: dict[str, Array]
) -> list[Callable[[], object]]:
    """Return the native calls of a kernel; a tensor that no program reads or writes gets new memory."""
    [source], [target] = part["inputs"], part["outputs"]
    x = values.setdefault(source, np.zeros(part["reads"], np.float32))
    y = values.setdefault(target, np.zeros((1, *kernel.shape), np.float32))
    active = None if part["source"] is None else runners[part["source"]].active
    calls: list[Callable[[], object]] = kernel.bind(x[0], y[0], active, part["whole"])
    return calls


def _kernel(name: str, blob: bytes, library: Any) -> Any:
    """Return the kernel of that name with the arrays of a part's file."""
    from gatesearch.kernels import layer_kernel  # imports PyTorch, which bundles without kernels do not need

    with np.load(io.BytesIO(blob), allow_pickle=False) as packed:
        arrays = {array: packed[array] for array in packed.files}
    return layer_kernel(name, "bundle").layer.load(arrays, library)
