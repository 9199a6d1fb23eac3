"""Runs a .tflite model on this host by LiteRT, its reference kernels or TensorFlow Lite Micro (TFLM)."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gatesearch._lib.plugins import need
from gatesearch._lib.tool_output import quiet
from gatesearch.compile.signature import read_number
from gatesearch.runtime.tensor_spec import TensorSpec

Array = npt.NDArray[Any]
ARENA_MARGIN_BYTES = 256 * 1024  # room for TFLM's own records besides the tensors


class Program:
    """A .tflite model ready to run on this host, one window at a time.

    Args:
        model: the model's bytes.
        engine: ``"litert"`` for LiteRT with XNNPACK, as on an application core; ``"reference"`` for LiteRT's reference
            kernels; ``"tflm"`` for TensorFlow Lite Micro, as on a microcontroller. In int8, ``tflm`` equals
            ``reference`` bit for bit.
        threads: number of threads of ``litert``.

    Attributes:
        model: the model's bytes.
        inputs: specs of the inputs.
        outputs: specs of the outputs, in the order in which the converted module returned them.

    Raises:
        ToolError: the engine refuses the model.
        ValueError: there is no such engine.
    """

    def __init__(self, model: bytes, engine: str = "litert", threads: int = 1) -> None:
        if engine not in _ENGINES:
            raise ValueError(f"unknown engine {engine!r}; choices: {', '.join(_ENGINES)}")
        self.model, self.engine = model, engine
        with quiet(f"loading a model into {engine}"):
            interpreter = _interpreter(model, engine, threads)
            inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
            self._input_order = _signature_order(interpreter, inputs, "get_input_details")
            output_order = _signature_order(interpreter, outputs, "get_output_details")
            self.inputs = tuple(_spec(inputs[position]) for position in self._input_order)
            self.outputs = tuple(_spec(outputs[position]) for position in output_order)
            self._runner: _Runner = _ENGINES[engine](model, interpreter, output_order)

    def __call__(self, x: Array, *state: Array) -> tuple[Array, ...]:
        """Run one window, or one hop.

        Args:
            x: the first input, in the type and shape of ``inputs[0]``.
            *state: the other inputs, in the types and shapes of ``inputs``, such as the state of a network by hops.

        Returns:
            The outputs, in the types and shapes of ``outputs``.

        Raises:
            ValueError: the number of inputs, a shape or a type is wrong.
        """
        arrays = (x, *state)
        if len(arrays) != len(self.inputs):
            raise ValueError(f"the program takes {len(self.inputs)} inputs, found {len(arrays)}")
        for spec, array in zip(self.inputs, arrays, strict=True):
            if array.shape != spec.shape or array.dtype != spec.dtype:
                actual = f"{array.dtype} {list(array.shape)}"
                raise ValueError(f"input must be {spec.dtype} {list(spec.shape)}, found {actual}")
        for position, array in zip(self._input_order, arrays, strict=True):
            self._runner.set_input(array, position)
        self._runner.invoke()
        return self._runner.outputs()

    def invoke(self) -> None:
        """Run the model on the last input without copies in and out, for timing."""
        self._runner.invoke()

    def memory(self) -> tuple[list[Array], list[Array]]:
        """Return arrays over the memory of the inputs and of the outputs, for engine ``litert``.

        :meth:`invoke` reads its inputs from this memory. The arrays live as long as the program.
        """
        return self._runner.memory(self._input_order)

    @property
    def arena_bytes(self) -> int | None:
        """Bytes of working memory, as the 64-bit build of TFLM reports them; None for other engines.

        A microcontroller's pointers are half as wide, so that the figure is an upper estimate.
        """
        return self._runner.arena_bytes()


class _Runner:
    """Runs a model by LiteRT: sets inputs, invokes it and reads outputs."""

    def __init__(self, model: bytes, interpreter: Any, output_order: Sequence[int]) -> None:
        self._interpreter = interpreter
        interpreter.allocate_tensors()
        self._inputs = [self._view(detail["index"]) for detail in interpreter.get_input_details()]
        outputs = interpreter.get_output_details()
        self._outputs = [self._view(outputs[position]["index"]) for position in output_order]

    def set_input(self, x: Array, position: int) -> None:
        self._inputs[position][...] = x

    def invoke(self) -> None:
        self._interpreter.invoke()

    def outputs(self) -> tuple[Array, ...]:
        return tuple(view.copy() for view in self._outputs)

    def memory(self, input_order: Sequence[int]) -> tuple[list[Array], list[Array]]:
        return [self._inputs[position] for position in input_order], self._outputs

    def arena_bytes(self) -> int | None:
        return None

    def _view(self, index: int) -> Array:
        # LiteRT refuses to run while one of its own arrays exists. So this array is built from the address alone.
        array = self._interpreter.tensor(index)()
        memory = (ctypes.c_byte * array.nbytes).from_address(array.ctypes.data)
        return np.frombuffer(memory, array.dtype).reshape(array.shape)


class _MicroRunner(_Runner):
    """Runs a model by TensorFlow Lite Micro; LiteRT only gives the sizes of the tensors."""

    def __init__(self, model: bytes, interpreter: Any, output_order: Sequence[int]) -> None:
        need("TensorFlow Lite Micro", "tflite_micro")
        from tflite_micro.python.tflite_micro import runtime

        sizes = [np.prod(d["shape"]) * np.dtype(d["dtype"]).itemsize for d in interpreter.get_tensor_details()]
        arena = int(sum(sizes)) + ARENA_MARGIN_BYTES  # room for all tensors at once is always enough
        self._interpreter = runtime.Interpreter.from_bytes(model, arena_size=arena)
        self._output_order = list(output_order)

    def set_input(self, x: Array, position: int) -> None:
        self._interpreter.set_input(x, position)

    def outputs(self) -> tuple[Array, ...]:
        return tuple(self._interpreter.get_output(position) for position in self._output_order)

    def arena_bytes(self) -> int | None:
        with quiet("asking TFLM for its memory") as output:
            self._interpreter.print_allocations()
            total = re.search(r"Arena allocation total (\d+) bytes", output())
        return int(total.group(1)) if total else None


_ENGINES: Mapping[str, Callable[[bytes, Any, Sequence[int]], _Runner]] = {
    "litert": _Runner,
    "reference": _Runner,
    "tflm": _MicroRunner,
}


def _interpreter(model: bytes, engine: str, threads: int) -> Any:
    """Return LiteRT's interpreter: with XNNPACK for ``litert``, its reference kernels for the other engines."""
    need("LiteRT", "ai_edge_litert")
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.AUTO if engine == "litert" else OpResolverType.BUILTIN_REF
    return Interpreter(model_content=model, num_threads=threads, experimental_op_resolver_type=resolver)


def _spec(detail: Mapping[str, Any]) -> TensorSpec:
    scale, zero_point = detail["quantization"]
    return TensorSpec(
        name=detail["name"],
        shape=tuple(int(size) for size in detail["shape"]),
        dtype=np.dtype(detail["dtype"]),
        scale=float(scale),
        zero_point=int(zero_point),
    )


def _signature_order(interpreter: Any, tensors: Sequence[Mapping[str, Any]], details: str) -> list[int]:
    """Return, for each input or output of the converted module, its position among those of the .tflite graph.

    The graph may have another order than the module; see :mod:`gatesearch.compile.signature`.
    """
    signatures = interpreter.get_signature_list()
    if not signatures:
        return list(range(len(tensors)))
    runner = interpreter.get_signature_runner(next(iter(signatures)))
    by_number = sorted(getattr(runner, details)().items(), key=lambda item: read_number(item[0]))
    positions = {tensor["index"]: position for position, tensor in enumerate(tensors)}
    return [positions[detail["index"]] for _, detail in by_number]
