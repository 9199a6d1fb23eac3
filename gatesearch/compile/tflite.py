"""The back end for .tflite: converts a module to a float32 program and quantises the program to int8.

All cores use .tflite files: LiteRT runs them on application cores, TensorFlow Lite Micro on microcontrollers, and Vela
compiles them for an Ethos-U. Tensors of rank 4 are channel-last in these files ([N, H, W, C]); :func:`channel_last` and
:func:`channel_first` convert between the two orders.

A conversion has three steps: :func:`gatesearch.compile.rewrites.rewrite_operators` rewrites a copy of the module,
litert-torch converts it, and for int8 the quantiser follows, with ranges that :mod:`gatesearch.compile.ranges` repairs.
Each program is compared with its module on the example (:mod:`gatesearch.compile.program_check`).

Two rules help a module to run with the same result on every engine, and wholly on an Ethos-U:

- Pool with ``AvgPool2d(k)`` or ``MaxPool2d(k)`` and the full kernel. ``mean`` and ``amax`` convert to transposes, MEAN
  and a float REDUCE_MAX.
- Concatenate pooled maps of 1x1 along the channels *before* flattening, and larger maps *after* flattening.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gatesearch._lib.plugins import need
from gatesearch._lib.timing import not_collecting
from gatesearch._lib.tool_output import quiet
from gatesearch.compile import flatbuffer, program_check, ranges, signature

if TYPE_CHECKING:
    import torch

    from gatesearch.compile.stage import StageGraph

Array = npt.NDArray[Any]
Converter = Callable[["torch.nn.Module", "Sequence[torch.Tensor]"], bytes]
"""A function that makes a float .tflite of a module, given an example of each input, as :func:`convert` does."""


def channel_last(array: Array) -> Array:
    """Return [N, C, H, W] as contiguous [N, H, W, C]; return arrays of other ranks unchanged."""
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if array.ndim == 4 else array


def channel_last_axis(axis: int, rank: int) -> int:
    """Return the index in a .tflite file of an axis of a PyTorch tensor, counted with the batch axis.

    A .tflite file stores tensors of rank 4 with channels last.

    >>> channel_last_axis(2, rank=4), channel_last_axis(1, rank=3)
    (1, 1)
    """
    return (0, 3, 1, 2)[axis] if rank == 4 else axis


def channel_first(array: Array) -> Array:
    """Return [N, H, W, C] as contiguous [N, C, H, W]; return arrays of other ranks unchanged."""
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2)) if array.ndim == 4 else array


def convert(module: torch.nn.Module, example: torch.Tensor | Sequence[torch.Tensor], rewrites: bool = True) -> bytes:
    """Convert a module to a float .tflite whose tensors of rank 4 are channel-last.

    Args:
        module: a module that returns a tensor or a tuple of tensors. A copy of it is converted, in evaluation mode.
        example: an example of the input, or of each input, with a batch of 1, such as [1, C, H, W].
        rewrites: whether :func:`~gatesearch.compile.rewrites.rewrite_operators` comes before the conversion; without
            it, the result is what the converter makes of the module by itself.

    Returns:
        The model. :class:`gatesearch.runtime.program.Program` gives its outputs in the order in which the module
        returns them.

    Raises:
        ToolError: the converter failed, for example at an operation that it does not know, or the program computes
            something else than the module.
    """
    import torch

    need("conversion to .tflite", "litert_torch")
    with quiet("conversion to .tflite"), not_collecting():
        import litert_torch

        from gatesearch.compile import constant_operands, recurrence
        from gatesearch.compile.rewrites import rewrite_operators

        recurrence.register()
        constant_operands.register()
        litert_torch.config.show_progress = False
        inputs = [example] if isinstance(example, torch.Tensor) else list(example)
        copied = copy.deepcopy(module).eval()
        with torch.no_grad():
            returned = copied(*inputs)
        outputs = [returned] if isinstance(returned, torch.Tensor) else list(returned)
        reference = [each.detach().numpy().copy() for each in outputs]  # before the rewriting, which it checks as well
        rewritten = rewrite_operators(copied) if rewrites else copied
        # The converter reads weights in the order of memory and ignores their strides.
        rewritten.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        with torch.no_grad():
            rewritten(*inputs)  # creates the constants of poolings
        wrapped = litert_torch.to_channel_last_io(
            rewritten,
            args=[index for index, value in enumerate(inputs) if value.ndim == 4],
            outputs=[index for index, value in enumerate(outputs) if value.ndim == 4],
        )
        examples = tuple(x.permute(0, 2, 3, 1).contiguous() if x.ndim == 4 else x for x in inputs)
        model = bytes(litert_torch.convert(wrapped.eval(), examples).model_content())
    program_check.check_float(model, rewritten, [each.detach().numpy() for each in inputs], reference)
    return model


def quantise(model: bytes, samples: Array, input_range: tuple[float, float] | None = None) -> bytes:
    """Quantise a float .tflite to int8: weights per channel, activations per tensor, inputs and outputs int8.

    The result is compact; see :func:`gatesearch.compile.flatbuffer.compact`.

    Args:
        model: float model with one input.
        samples: float inputs in the model's layout, [n, ...] ([n, H, W, C] for rank 4).
        input_range: smallest and largest value of an input that is on an int8 grid already, so that its values do not
            change; None takes the range from the samples.

    Raises:
        ToolError: the quantiser failed, or the int8 program computes something else than the float program.
        ValueError: no samples, or samples of another shape than the input.
    """
    quantised = quantise_in(model, calibrate(model, samples, input_range))
    program_check.check_int8(quantised, model, samples.astype(np.float32))
    return quantised


def calibrate(
    model: bytes, samples: Array, input_range: tuple[float, float] | None = None
) -> dict[str, dict[str, Any]]:
    """Return ``min`` and ``max`` of each activation of a float .tflite by name; see :func:`quantise`.

    Ranges are the smallest and largest values observed. (The quantiser's own default, a moving average over samples,
    shrinks the range of a tensor with one element per sample, such as a gate's logit, to about the mean of its values.)
    """
    parsed = flatbuffer.read(model)
    source = parsed.subgraphs[0].tensors[parsed.subgraphs[0].inputs[0]]
    shape = tuple(map(int, source.shape))
    if len(samples) == 0 or tuple(samples.shape[1:]) != shape[1:]:
        raise ValueError(f"samples must be [n, {', '.join(map(str, shape[1:]))}] with n > 0, found {samples.shape}")
    need("quantisation to int8", "ai_edge_quantizer")
    with quiet("quantisation to int8"):
        from ai_edge_quantizer import calibrator, recipe, recipe_manager
        from ai_edge_quantizer.utils import qsv_utils

        manager = recipe_manager.RecipeManager()
        manager.load_quantization_recipe(recipe.static_wi8_ai8())
        [definition] = parsed.signatureDefs
        input_name = definition.inputs[0].name.decode()
        calibration = calibrator.Calibrator(model, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
        feed = [{input_name: sample[None]} for sample in samples.astype(np.float32)]
        calibration.calibrate({definition.signatureKey.decode(): feed}, manager)
        observed: dict[str, dict[str, Any]] = calibration.get_model_qsvs()
    if input_range is not None:
        low, high = (np.full((1,) * len(shape), end, np.float32) for end in input_range)
        observed[source.name.decode()] = {"min": low, "max": high}
    ranges.open_up(observed)
    return observed


def quantise_in(model: bytes, observed: dict[str, dict[str, Any]]) -> bytes:
    """Return a float .tflite quantised to int8; ranges in ``observed`` that int8 cannot represent are widened there."""
    need("quantisation to int8", "ai_edge_quantizer")
    with quiet("quantisation to int8"):
        from ai_edge_quantizer import quantizer, recipe

        int8 = recipe.static_wi8_ai8()
        while True:  # a wider range makes the sums behind it coarser, so their output ranges may have to widen, too
            result = quantizer.Quantizer(model, int8).quantize(observed, enable_progress_report=False)
            quantised = signature.restore_outputs(bytes(result.quantized_model))
            if not ranges.widen(observed, quantised):
                return flatbuffer.compact(ranges.fit_biases(quantised, model))


def compile(stage: StageGraph, input_range: tuple[float, float] | None = None, converter: Converter = convert) -> bytes:
    """Return a stage as one .tflite program in the number format that its core uses.

    A stage with gated layers stays in float32. Its program also computes the work that its gates could skip, and masks
    the result. So the program is a reference for cores with kernels. Stages with recurrent layers stay in float32 as
    well. On cores that run float32, so do stages that int8 suits badly; see :mod:`gatesearch.compile.number_format`.

    Args:
        stage: the stage after the passes; see :func:`gatesearch.compile.passes.run`.
        input_range: smallest and largest value of an input that is on an int8 grid already; else None.
        converter: the function that makes a float .tflite of a module and its examples.
    """
    model = converter(stage.program, (stage.samples[:1],))
    if stage.arithmetic == "float32":
        return flatbuffer.compact(model)
    return quantise(model, channel_last(stage.samples.numpy()), input_range)
