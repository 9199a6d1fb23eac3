"""Compares a converted program with its module on an example, because converters sometimes write wrong programs.

Converters have written programs for another function without an error, for example ``x - c`` in place of ``c - x``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gatesearch._lib.tool_output import ToolError
from gatesearch.compile import flatbuffer

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]
FLOAT_TOLERANCE = 1e-3  # share of an output's largest value; errors of rounding in float32 are 100 times smaller
# A gated layer compares sums with thresholds, or with each other. If two numbers are nearly equal, another order of
# additions may change the decision. The output then changes by what the gate adds or drops: low bits of an input, or a
# channel. In M-CifarNet, this is up to 3 % of the largest value. A wrong program is off by about the largest value.
DECISION_TOLERANCE = 0.15
# int8 has 256 steps. A right int8 program rounds at each operator, which adds up to a few steps. The values of a wrong
# program are unrelated to the right ones. Two independent uniform values differ by 85 steps on average.
MAX_MEAN_STEPS = 40
MAX_INT8_SAMPLES = 2


def check_float(model: bytes, module: torch.nn.Module, inputs: Sequence[Array], reference: Sequence[Array]) -> None:
    """Check that a float program computes what its module computes.

    Args:
        model: the program; its tensors of rank 4 are channel-last.
        module: the converted module, in evaluation mode.
        inputs: an example of each input, channel-first.
        reference: the module's outputs for these inputs, channel-first.

    Raises:
        ToolError: an output differs; the message names the last layer whose output the program contains.
    """
    outputs = run_program(model, [_channel_last(each) for each in inputs])
    from gatesearch.gates import LayerGate  # imports PyTorch, which bundles do not need

    decides = any(isinstance(part, LayerGate) for part in module.modules())
    tolerance = DECISION_TOLERANCE if decides else FLOAT_TOLERANCE
    for index, (output, expected) in enumerate(zip(outputs, reference, strict=True)):
        right = _channel_last(expected)
        finite = np.isfinite(right)
        scale = float(np.abs(right[finite]).max(initial=0.0))
        shape_fits = output.shape == right.shape
        error = np.abs(output - right)[finite].max(initial=0.0) if shape_fits else np.inf
        if not error <= tolerance * max(scale, FLOAT_TOLERANCE):
            raise ToolError(
                f"conversion to .tflite: the converter wrote a wrong program: output {index} differs from the module "
                f"by {error:.3g} at values up to {scale:.3g}, {_place(model, module, inputs)}"
            )


def check_int8(model: bytes, in_float: bytes, samples: Array) -> None:
    """Check that an int8 program computes what its float program computes, up to rounding.

    Args:
        model: the int8 program.
        in_float: the float program.
        samples: inputs [n, ...] in the program's layout, for which the int8 program is calibrated.

    Raises:
        ToolError: a channel of an output differs by more than rounding explains.
    """
    right, outputs = list[list[Array]](), list[list[Array]]()
    for sample in samples[:MAX_INT8_SAMPLES]:
        right.append(run_program(in_float, [sample[None]]))
        outputs.append(run_program(model, [sample[None]]))
    scales = [tensor.quantization.scale for tensor in _output_tensors(model)]
    for index, scale in enumerate(scales):
        if scale is None or not len(scale):
            continue  # the output is an index, which has no scale
        error = np.abs(np.stack([a[index] - b[index] for a, b in zip(outputs, right, strict=True)])) / scale[0]
        steps = float(error.reshape(-1, error.shape[-1]).mean(0).max())
        if not steps <= MAX_MEAN_STEPS:
            raise ToolError(
                f"quantisation to int8: the quantiser wrote a wrong program: a channel of output {index} differs from "
                f"the float program by {steps:.0f} steps on average; rounding explains {MAX_MEAN_STEPS}"
            )


def run_program(model: bytes, inputs: Sequence[Array]) -> list[Array]:
    """Return a program's outputs for float inputs; for an int8 program, it converts inputs and outputs."""
    interpreter = _interpreter(model)
    entering, leaving = _ends(interpreter)
    for detail, values in zip(entering, inputs, strict=True):
        interpreter.set_tensor(detail["index"], _to_number_format(values, detail))
    interpreter.invoke()
    return [_to_float(interpreter.get_tensor(detail["index"]), detail) for detail in leaving]


def _interpreter(model: bytes, keeps_tensors: bool = False) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kind = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if keeps_tensors else OpResolverType.AUTO
    interpreter = Interpreter(
        model_content=model,
        num_threads=1,
        experimental_op_resolver_type=kind,
        experimental_preserve_all_tensors=keeps_tensors,
    )
    interpreter.allocate_tensors()
    return interpreter


def _ends(interpreter: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the details of a program's inputs and outputs, in the order of the module's arguments and results."""
    [signature] = interpreter._get_full_signature_list().values()
    details = {each["index"]: each for each in (*interpreter.get_input_details(), *interpreter.get_output_details())}
    inputs, outputs = (
        [details[entries[name]] for name in sorted(entries, key=lambda name: int(name.rpartition("_")[2]))]
        for entries in (signature["inputs"], signature["outputs"])
    )
    return inputs, outputs


def _output_tensors(model: bytes) -> list[Any]:
    parsed = flatbuffer.read(model)
    [signature] = parsed.signatureDefs
    entries = sorted(signature.outputs, key=lambda entry: int(entry.name.decode().rpartition("_")[2]))
    return [parsed.subgraphs[0].tensors[entry.tensorIndex] for entry in entries]


def _to_number_format(values: Array, detail: dict[str, Any]) -> Array:
    scale, zero = detail["quantization"]
    if not scale:
        return values.astype(detail["dtype"])
    limits = np.iinfo(detail["dtype"])
    return np.clip(np.round(values / scale) + zero, limits.min, limits.max).astype(detail["dtype"])


def _to_float(values: Array, detail: dict[str, Any]) -> Array:
    scale, zero = detail["quantization"]
    return (values.astype(np.float64) - zero) * scale if scale else values.astype(np.float64)


def _channel_last(values: Array) -> Array:
    return np.ascontiguousarray(values.transpose(0, 2, 3, 1)) if values.ndim == 4 else values


def _place(model: bytes, module: torch.nn.Module, inputs: Sequence[Array]) -> str:
    """Return the place for the error message: behind the last layer whose output is among the program's tensors."""
    import torch

    layers: list[tuple[str, Array]] = []

    def note(name: str) -> Any:
        def store(layer: Any, args: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                layers.append((name, output.numpy()))

        return store

    leaves = [(name, each) for name, each in module.named_modules() if name and not list(each.children())]
    hooks = [layer.register_forward_hook(note(name)) for name, layer in leaves]
    try:
        with torch.no_grad():
            module(*map(torch.from_numpy, inputs))
    finally:
        for hook in hooks:
            hook.remove()
    interpreter = _interpreter(model, keeps_tensors=True)
    entering, _ = _ends(interpreter)
    for detail, values in zip(entering, inputs, strict=True):
        interpreter.set_tensor(detail["index"], _channel_last(values).astype(detail["dtype"]))
    interpreter.invoke()
    written = [each for each in map(_tensor_of(interpreter), interpreter.get_tensor_details()) if each is not None]
    agreeing = [name for name, values in layers if any(_contains(each, values) for each in written)]
    return f"behind layer {agreeing[-1]!r}" if agreeing else "and no layer agrees"


def _tensor_of(interpreter: Any) -> Any:
    def read(detail: dict[str, Any]) -> Array | None:
        try:
            values: Array = interpreter.get_tensor(detail["index"])
        except ValueError:  # the tensor has no memory, because the engine fuses its operator with another one
            return None
        return values

    return read


def _contains(written: Array, values: Array) -> bool:
    """Say whether a tensor of a program holds a layer's output, in either order of axes."""
    if written.size != values.size or written.size == 0:
        return False
    orders = [values.reshape(-1), np.moveaxis(values, 1, -1).reshape(-1) if values.ndim > 2 else values.reshape(-1)]
    slack = FLOAT_TOLERANCE * max(float(np.abs(values).max()), FLOAT_TOLERANCE)
    return any(np.abs(written.reshape(-1) - each).max() <= slack for each in orders)
