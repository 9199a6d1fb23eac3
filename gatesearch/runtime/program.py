"""A .tflite model that runs on this host, one window at a time: by LiteRT, its reference kernels or TFLM."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gatesearch._lib.plugins import need
from gatesearch._lib.tool_output import quiet
from gatesearch.runtime.tensor_spec import TensorSpec

Array = npt.NDArray[Any]
ARENA_MARGIN_BYTES = 256 * 1024  # TFLM's own records beside the tensors


class Program:
    """A .tflite model ready to run on this host, one window at a time.

    Args:
        model: the model's bytes.
        engine: ``"litert"`` LiteRT with XNNPACK, as an application core runs it; ``"reference"`` LiteRT's
            reference kernels; ``"tflm"`` TensorFlow Lite Micro, as a microcontroller runs it, equal to
            ``reference`` bit for bit in int8.
        threads: threads of ``litert``.

    Attributes:
        inputs: specs of the inputs.
        outputs: specs of the outputs, in the order in which the converted module returned them.

    Raises:
        ToolError: the engine refuses the model.
        ValueError: no such engine.
    """

    def __init__(self, model: bytes, engine: str = "litert", threads: int = 1) -> None:
        if engine not in _ENGINES:
            raise ValueError(f"unknown engine {engine!r}; choices: {', '.join(_ENGINES)}")
        self.engine = engine
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
            x: the input in its raw type and shape (see ``inputs[0]``).
            *state: the other inputs alike, such as what goes from hop to hop.

        Returns:
            The outputs in their raw types and shapes (see ``outputs``).

        Raises:
            ValueError: another number of inputs, shape or type.
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
        """Run the kernels alone on the last input: what is timed."""
        self._runner.invoke()

    def memory(self) -> tuple[list[Array], list[Array]]:
        """Return arrays over the memory of inputs and outputs themselves, for engine ``litert``.

        What is written there is what :meth:`invoke` reads. They live as long as the program.
        """
        return self._runner.memory(self._input_order)

    @property
    def arena_bytes(self) -> int | None:
        """Working memory as TFLM's 64-bit build here counts it; None where the engine does not say.

        A microcontroller's pointers are half as wide, so that the figure is an upper estimate.
        """
        return self._runner.arena_bytes()


class _Runner:
    """LiteRT behind the few calls that a program needs."""

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
        # LiteRT refuses to run while an array of its own making is there, so only the address is taken from that.
        array = self._interpreter.tensor(index)()
        memory = (ctypes.c_byte * array.nbytes).from_address(array.ctypes.data)
        return np.frombuffer(memory, array.dtype).reshape(array.shape)


class _MicroRunner(_Runner):
    """TensorFlow Lite Micro; LiteRT only tells it the sizes of the tensors."""

    def __init__(self, model: bytes, interpreter: Any, output_order: Sequence[int]) -> None:
        need("TensorFlow Lite Micro", "tflite_micro")
        from tflite_micro.python.tflite_micro import runtime

        sizes = [np.prod(d["shape"]) * np.dtype(d["dtype"]).itemsize for d in interpreter.get_tensor_details()]
        arena = int(sum(sizes)) + ARENA_MARGIN_BYTES  # all tensors at once is a safe bound on the plan
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
    """Return, for each value that the module takes or returns, its position among the graph's inputs or outputs.

    The converter names them args_0, output_0, output_1 ... in the model's signature; the graph's own order is not
    promised.
    """
    signatures = interpreter.get_signature_list()
    if not signatures:
        return list(range(len(tensors)))
    runner = interpreter.get_signature_runner(next(iter(signatures)))
    by_number = sorted(getattr(runner, details)().items(), key=lambda item: int(re.sub(r"\D", "", item[0]) or 0))
    positions = {tensor["index"]: position for position, tensor in enumerate(tensors)}
    return [positions[detail["index"]] for _, detail in by_number]
