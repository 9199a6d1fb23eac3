"""A .tflite model that runs on this host, one window at a time: by LiteRT, its reference kernels or TFLM."""

from __future__ import annotations

import ctypes
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gatesearch._lib.plugins import need
from gatesearch._lib.tool_output import quiet

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a program; ``scale`` is 0 where the tensor is not quantised.

    >>> spec = TensorSpec("logit", (1, 1), np.dtype(np.int8), scale=0.5, zero_point=3)
    >>> spec.quantise(np.array([[1.0]])).tolist(), spec.dequantise(np.array([[5]], np.int8)).tolist()
    ([[5]], [[1.0]])
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float
    zero_point: int

    @property
    def range(self) -> tuple[float, float] | None:
        """The values of the type's smallest and largest integer; None where the tensor is not quantised."""
        if not self.scale:
            return None
        limits = np.iinfo(self.dtype)
        return self.value(limits.min), self.value(limits.max)

    def value(self, number: float) -> float:
        """Return what a number of the tensor's own type stands for."""
        return (number - self.zero_point) * self.scale if self.scale else number

    def quantise(self, array: Array) -> Array:
        """Return float values in the tensor's own type; rounds halves away from zero, as TFLite does."""
        if not self.scale:
            return array.astype(self.dtype)
        steps = array / self.scale
        steps = np.trunc(steps + np.copysign(0.5, steps)) + self.zero_point
        limits = np.iinfo(self.dtype)
        return np.clip(steps, limits.min, limits.max).astype(self.dtype)

    def dequantise(self, array: Array) -> npt.NDArray[np.float32]:
        """Return float32 values of what the tensor holds."""
        if not self.scale:
            return array.astype(np.float32)
        if array.dtype == np.int8:
            return _values(self.scale, self.zero_point)[array]  # negative ones count from the end
        return _real(array, self.scale, self.zero_point)


def _real(array: Array, scale: float, zero_point: int) -> npt.NDArray[np.float32]:
    return (array.astype(np.float32) - zero_point) * np.float32(scale)


@functools.lru_cache(256)
def _values(scale: float, zero_point: int) -> npt.NDArray[np.float32]:
    """Return what 0 .. 127, -128 .. -1 stand for: looked up, a few values take a third of the time."""
    return _real(np.arange(256).astype(np.int8), scale, zero_point)


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
            details = _interpreter(model, "litert" if engine == "litert" else "reference", threads)
            given, outputs = details.get_input_details(), details.get_output_details()
            taken = _signature_order(details, given, "get_input_details")
            order = _signature_order(details, outputs, "get_output_details")
            self.inputs = tuple(_spec(given[position]) for position in taken)
            self.outputs = tuple(_spec(outputs[position]) for position in order)
            self._runner: _Runner = _ENGINES[engine](model, details, order)
            self._taken = taken

    def __call__(self, x: Array) -> tuple[Array, ...]:
        """Run one window.

        Args:
            x: the input in its raw type and shape (see ``inputs[0]``).

        Returns:
            The outputs in their raw types and shapes (see ``outputs``).

        Raises:
            ValueError: another shape or type.
        """
        spec = self.inputs[0]
        if x.shape != spec.shape or x.dtype != spec.dtype:
            raise ValueError(f"input must be {spec.dtype} {list(spec.shape)}, found {x.dtype} {list(x.shape)}")
        self._runner.set_input(x)
        self._runner.invoke()
        return self._runner.outputs()

    def invoke(self) -> None:
        """Run the kernels alone on the last input: what is timed."""
        self._runner.invoke()

    def memory(self) -> tuple[list[Array], list[Array]]:
        """Return arrays over the memory of inputs and outputs themselves, for engine ``litert``.

        What is written there is what :meth:`invoke` reads. They live as long as the program.
        """
        return self._runner.memory(self._taken)

    @property
    def arena_bytes(self) -> int | None:
        """Working memory as TFLM's 64-bit build here counts it, or None where the engine does not tell.

        A microcontroller's pointers are half as wide, so that the figure is an upper estimate.
        """
        return self._runner.arena_bytes()


class _Runner:
    """LiteRT behind the few calls that a program needs."""

    def __init__(self, model: bytes, interpreter: Any, order: Sequence[int]) -> None:
        self._interpreter = interpreter
        interpreter.allocate_tensors()
        self._given = [self._view(detail["index"]) for detail in interpreter.get_input_details()]
        outputs = interpreter.get_output_details()
        self._made = [self._view(outputs[position]["index"]) for position in order]

    def set_input(self, x: Array) -> None:
        self._given[0][...] = x

    def invoke(self) -> None:
        self._interpreter.invoke()

    def outputs(self) -> tuple[Array, ...]:
        return tuple(view.copy() for view in self._made)

    def memory(self, taken: Sequence[int]) -> tuple[list[Array], list[Array]]:
        return [self._given[position] for position in taken], self._made

    def _view(self, index: int) -> Array:
        # LiteRT refuses to run while an array of its own making is there, so only the address is taken from that.
        array = self._interpreter.tensor(index)()
        held = (ctypes.c_byte * array.nbytes).from_address(array.ctypes.data)
        return np.frombuffer(held, array.dtype).reshape(array.shape)

    def arena_bytes(self) -> int | None:
        return None


class _MicroRunner(_Runner):
    """TensorFlow Lite Micro; LiteRT only tells it the sizes of the tensors."""

    def __init__(self, model: bytes, interpreter: Any, order: Sequence[int]) -> None:
        need("TensorFlow Lite Micro", "tflite_micro")
        from tflite_micro.python.tflite_micro import runtime

        sizes = [np.prod(d["shape"]) * np.dtype(d["dtype"]).itemsize for d in interpreter.get_tensor_details()]
        # All tensors at once is a safe bound on the plan; the rest is for TFLM's own records.
        arena = int(sum(sizes)) + 256 * 1024
        self._interpreter = runtime.Interpreter.from_bytes(model, arena_size=arena)
        self._order = list(order)

    def set_input(self, x: Array) -> None:
        self._interpreter.set_input(x, 0)

    def outputs(self) -> tuple[Array, ...]:
        return tuple(self._interpreter.get_output(position) for position in self._order)

    def arena_bytes(self) -> int | None:
        with quiet("asking TFLM for its memory") as written:
            self._interpreter.print_allocations()
            found = re.search(r"Arena allocation total (\d+) bytes", written())
        return int(found.group(1)) if found else None


_ENGINES: Mapping[str, Callable[[bytes, Any, Sequence[int]], _Runner]] = {
    "litert": _Runner,
    "reference": _Runner,
    "tflm": _MicroRunner,
}


def _interpreter(model: bytes, resolver: str, threads: int = 1) -> Any:
    need("LiteRT", "ai_edge_litert")
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kinds = {"litert": OpResolverType.AUTO, "reference": OpResolverType.BUILTIN_REF}
    return Interpreter(model_content=model, num_threads=threads, experimental_op_resolver_type=kinds[resolver])


def _spec(detail: Mapping[str, Any]) -> TensorSpec:
    scale, zero_point = detail["quantization"]
    shape = tuple(int(size) for size in detail["shape"])
    return TensorSpec(detail["name"], shape, np.dtype(detail["dtype"]), float(scale), int(zero_point))


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
    position = {detail["index"]: place for place, detail in enumerate(tensors)}
    return [position[detail["index"]] for _, detail in by_number]
