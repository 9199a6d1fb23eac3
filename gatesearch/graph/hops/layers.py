"""Rules that say how layers (modules such as convolutions or poolings) run in a hop of a stream.

Each rule gets a call of a layer and returns its step in a hop: which frames of the window the layer reads, and which it
computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import fx, nn

from gatesearch.graph.hops.call import STREAM, Argument, Call, HopStep, Rule
from gatesearch.graph.hops.frames import Frames, Slide
from gatesearch.graph.module_types import AVERAGE_POOLS, BATCH_NORMS, CONVOLUTIONS, ELEMENTWISE, MAX_POOLS, PADS

ADAPTIVE = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d)


def along_time(setting: Any, call: Call) -> int:
    """Return a layer's setting, such as a kernel's size, along the time axis."""
    first = len(call.shape_in) - spatial_axes(call)
    return int(setting[call.frames.axis - first]) if isinstance(setting, tuple | list) else int(setting)


def spatial_axes(call: Call) -> int:
    """Return the number of axes over which a layer slides, pools or pads."""
    return 1 if type(call.module).__name__.endswith("1d") else 2


def _is_spatial(call: Call) -> bool:
    return call.frames.axis >= len(call.shape_in) - spatial_axes(call)


def convolution(call: Call) -> HopStep:
    """Return the step of a convolution: it slides over time, or reads the whole window if time is its channel axis."""
    layer = call.module
    assert isinstance(layer, nn.Conv1d | nn.Conv2d)
    if not _is_spatial(call):
        return call.reduces()
    before, behind = padding_in_time(call)
    if before or behind:
        return call.recomputes(_padding_reason(before, behind))
    extent = (along_time(layer.kernel_size, call) - 1) * along_time(layer.dilation, call) + 1
    return _slide(call, Slide(0, extent, along_time(layer.stride, call)))


def padding_in_time(call: Call) -> tuple[int, int]:
    """Return the numbers of frames that a convolution or pooling pads before and behind a window."""
    layer: Any = call.module
    padding = getattr(layer, "padding", 0)
    if padding == "valid":
        return 0, 0
    if padding == "same":
        total = (along_time(layer.kernel_size, call) - 1) * along_time(layer.dilation, call)
        return total // 2, total - total // 2
    return (along_time(padding, call),) * 2


def _padding_reason(before: int, behind: int) -> str:
    return (
        f"pads in time, {before} frames before a window and {behind} behind it, so that frames at its ends change when "
        "it moves; use instead: the network that rewrite_for_hops returns, trained after the rewriting"
    )


def _slide(call: Call, slide: Slide) -> HopStep:
    count = call.shape_out[call.frames.axis]
    if count == 1 and call.frames.count > 1 and call.frames.hop % slide.stride:
        return call.reduces()  # with one output frame per window, the layer does not slide
    return call.slides(slide, count)


def pooling(call: Call) -> HopStep:
    """Return the step of a pooling: it slides over time, or pools the whole window."""
    layer: Any = call.module
    if not _is_spatial(call):
        return call.passes()
    before, behind = padding_in_time(call)
    if call.shape_out[call.frames.axis] == 1 and not before + behind:
        return call.reduces()
    if before or behind:
        return call.recomputes(_padding_reason(before, behind))
    extent = (along_time(layer.kernel_size, call) - 1) * along_time(getattr(layer, "dilation", 1), call) + 1
    return _slide(call, Slide(0, extent, along_time(layer.stride, call)))


def adaptive_pooling(call: Call) -> HopStep:
    """Return the step of an adaptive pooling: it pools the whole window, or several parts that move with the window."""
    if not _is_spatial(call):
        return call.passes()
    if call.shape_out[call.frames.axis] == 1:
        return call.reduces()
    return call.recomputes("pools parts of a window, which move with it; use instead: a pooling to one frame")


def batch_norm(call: Call) -> HopStep:
    """Return the step of a batch normalisation; with running statistics it scales and shifts each channel."""
    layer: Any = call.module
    if layer.running_mean is None:
        return call.recomputes("normalises over the frames of a window; use instead: running statistics")
    if call.frames.axis == 1:
        return call.recomputes("scales each frame of a window by a number of its own")
    return call.passes()


def group_norm(call: Call) -> HopStep:
    """Return the step of a group normalisation: it normalises over all frames of a window."""
    return call.recomputes("normalises over the frames of a window; use instead: a batch normalisation")


def layer_norm(call: Call) -> HopStep:
    """Return the step of a layer normalisation, which normalises over the last axes."""
    layer: Any = call.module
    normalises_time = call.frames.axis >= len(call.shape_in) - len(layer.normalized_shape)
    return group_norm(call) if normalises_time else call.passes()


def softmax(call: Call) -> HopStep:
    """Return the step of a softmax, which normalises over one axis."""
    layer: Any = call.module
    dimension = layer.dim if layer.dim is not None else 1
    return group_norm(call) if dimension % len(call.shape_in) == call.frames.axis else call.passes()


def linear(call: Call) -> HopStep:
    """Return the step of a linear layer, which reads the last axis."""
    return call.reduces() if call.frames.axis == len(call.shape_in) - 1 else call.passes()


def element_wise(call: Call) -> HopStep:
    """Return the step of an element-wise layer, where each value depends on one value."""
    return call.passes()


def pad_widths(call: Call) -> tuple[int, ...]:
    """Return the widths of a padding as ``F.pad`` takes them: (before, behind) for each axis, the last axis first."""
    layer: Any = call.module
    if layer is None:
        return tuple(call.argument(0, "pad", ()))
    padding = layer.padding
    if isinstance(padding, tuple | list):
        return tuple(padding)
    return (padding,) * 2 * spatial_axes(call)


def pad(call: Call) -> HopStep:
    """Return the step of a padding; padding in time prevents running by hops, with one exception.

    The exception is padding before the window alone, with :attr:`Call.memory` ``"stream"``. Earlier frames of the
    stream then replace the zeros.
    """
    widths = pad_widths(call)
    place = 2 * (len(call.shape_in) - 1 - call.frames.axis)
    before, behind = widths[place : place + 2] if place < len(widths) else (0, 0)
    if not before and not behind:
        return call.passes()
    if behind or before < 0 or call.memory != STREAM:
        return call.recomputes(_padding_reason(before, behind))
    others = tuple(0 if place <= i < place + 2 else width for i, width in enumerate(widths))
    output = Frames(call.frames.axis, call.frames.count + before, call.frames.hop)

    def without_time(graph: fx.Graph, copy: fx.Node, value: Argument) -> fx.Node:
        return graph.call_function(nn.functional.pad, (copy, others)) if any(others) else copy

    return HopStep(output, call.frames.first_fresh, replacement=without_time)


def recurrent(call: Call) -> HopStep:
    """Return the step of a recurrent layer: it keeps its state along the stream, with ``memory="stream"`` only.

    With ``memory="window"`` it would have to start from zero at the first frame of each window.
    """
    layer = call.module
    assert isinstance(layer, nn.RNNBase)
    if layer.bidirectional:
        return call.recomputes("reads backwards in time; nearest choice: bidirectional=False")
    if call.frames.axis != (1 if layer.batch_first else 0):
        return call.recomputes("steps over another axis than time")
    if len(call.node.all_input_nodes) > 1:
        return call.recomputes("starts from a state that the network computes; use instead: a state of zero")
    if call.memory != STREAM:
        return call.recomputes("starts from zero at a window's first frame; nearest choice: memory='stream'")
    if call.frames.hop > call.frames.count:
        return call.recomputes(
            f"would miss frames between two windows: a hop has {call.frames.hop} frames, a window {call.frames.count}"
        )
    step = call.passes()
    return HopStep(step.output, step.start, carries=True)


def _transformer(call: Call) -> HopStep:
    return call.recomputes("attends from each frame to all others; use instead: a pooling over time before it")


LAYERS: Mapping[tuple[type[nn.Module], ...], Rule] = {
    CONVOLUTIONS: convolution,
    ADAPTIVE: adaptive_pooling,
    (*AVERAGE_POOLS, *MAX_POOLS): pooling,
    BATCH_NORMS: batch_norm,
    (nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d): group_norm,
    (nn.LayerNorm, nn.RMSNorm): layer_norm,
    (nn.Softmax, nn.LogSoftmax): softmax,
    (nn.Linear,): linear,
    PADS: pad,
    (nn.RNNBase,): recurrent,
    (nn.MultiheadAttention, nn.TransformerEncoderLayer): _transformer,
    (*ELEMENTWISE, nn.Softplus, nn.Hardtanh, nn.LogSigmoid, nn.Mish, nn.CELU, nn.SELU, nn.Softsign): element_wise,
}
