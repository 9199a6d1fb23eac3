"""Compiles a network that runs by hops into two int8 programs: one for a hop, one for a whole window.

A network by hops computes only the new frames of a window at each decision. The first program, the *step*, computes a
hop from fresh frames and a state, which holds values of earlier hops. The second program computes the state from a
whole window. A part of the network that runs on demand uses the second program when its gate opens.

Both programs compute the same integers. For that, each tensor needs the same scale in both programs. So a tensor's
range is observed on whole windows alone, and the step uses the same range. Both programs have the same computing
operators in the same order. All other operators only move values: they join earlier frames with fresh ones, and copy
the frames that the next hop needs. All inputs and outputs of such an operator have one scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gatesearch.compile import flatbuffer, tflite
from gatesearch.errors import UserError
from gatesearch.graph.hops import HopNetwork

Ranges = dict[str, dict[str, Any]]
MOVING = ("RESHAPE", "TRANSPOSE", "SLICE", "STRIDED_SLICE", "CONCATENATION")  # operators that only move values


@dataclass(frozen=True)
class HopPrograms:
    """The two .tflite programs of one part of a chain that runs by hops.

    Args:
        step: program that maps (fresh frames, *state) to (output, *state).
        catch_up: program that maps a window to (output, *state).
    """

    step: bytes
    catch_up: bytes


class _FlatOutputs(nn.Module):
    """Returns all tensors of a program in one tuple: the outputs of the network, then its state."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        output, *state = self.program(*inputs)
        return (*(output if isinstance(output, tuple | list) else (output,)), *state)


@torch.no_grad()
def compile_hops(
    network: HopNetwork, samples: Tensor, input_range: tuple[float, float] | None = None, in_float: bool = False
) -> HopPrograms:
    """Return the int8 programs of a network that runs by hops.

    Args:
        network: the network in evaluation mode; it is not changed.
        samples: windows [n, *shape] of the training split, from which the ranges of activations come.
        input_range: smallest and largest value of an input that is on an int8 grid already; else None.
        in_float: whether the programs stay in float32, for a stage that would lose too much accuracy in int8.

    Raises:
        UserError: the network has recurrent layers or no time axis, or the converter writes the step with other
            operators than the program of a whole window.
        ToolError: the converter or the quantiser failed.
    """
    if network.frames is None:
        raise UserError("hops: the part has no time axis, so that it is one program; use instead: compile.tflite")
    if any(isinstance(module, nn.RNNBase) for module in network.modules()):
        raise UserError("hops: recurrent layers have no int8 program; use instead: a core that runs kernels")
    frames, window = network.frames, samples[:1]
    _, state = network.catch_up(window)
    fresh = window.narrow(frames.axis, frames.first_fresh, frames.fresh)
    whole = tflite.convert(_FlatOutputs(network.whole), window)
    step = tflite.convert(_FlatOutputs(network.step), (fresh, *state))
    if in_float:
        return HopPrograms(step=flatbuffer.compact(step), catch_up=flatbuffer.compact(whole))
    observed = tflite.calibrate(whole, tflite.channel_last(samples.numpy()), input_range)
    catch_up = tflite.quantise_in(whole, observed)  # before the step, because this may widen the ranges in place
    return HopPrograms(step=tflite.quantise_in(step, _step_ranges(whole, observed, step)), catch_up=catch_up)


def _step_ranges(whole: bytes, observed: Ranges, step: bytes) -> Ranges:
    """Return the ranges of a step's tensors, each from the same tensor in the program of a whole window."""
    parsed_whole, parsed_step = flatbuffer.read(whole), flatbuffer.read(step)
    computing_whole, computing_step = _computing(parsed_whole), _computing(parsed_step)
    names_whole, names_step = (
        [flatbuffer.operator_name(parsed, operator) for operator in operators]
        for parsed, operators in ((parsed_whole, computing_whole), (parsed_step, computing_step))
    )
    if names_whole != names_step:
        raise UserError(
            f"hops: the converter writes a window as {', '.join(names_whole)} and a hop as {', '.join(names_step)}; "
            "use instead: hops in float"
        )
    ranges: Ranges = {}
    for operator_whole, operator_step in zip(computing_whole, computing_step, strict=True):
        for ends in ("inputs", "outputs"):
            pairs = zip(getattr(operator_whole, ends), getattr(operator_step, ends), strict=True)
            for index_whole, index_step in pairs:
                own = observed.get(_tensor_name(parsed_whole, index_whole))
                if own is not None:
                    _set(ranges, parsed_step, index_step, own)
    _spread(ranges, parsed_step)
    return ranges


def _computing(parsed: Any) -> list[Any]:
    operators: list[Any] = parsed.subgraphs[0].operators
    return [operator for operator in operators if flatbuffer.operator_name(parsed, operator) not in MOVING]


def _spread(ranges: Ranges, parsed: Any) -> None:
    """Give one range to all tensors of each operator that only moves values, in place, until nothing changes."""
    graph = parsed.subgraphs[0]
    moving = [each for each in graph.operators if flatbuffer.operator_name(parsed, each) in MOVING]
    count = -1
    while count != len(ranges):
        count = len(ranges)
        for operator in moving:
            activations = [
                index
                for index in (*operator.inputs, *operator.outputs)
                if not flatbuffer.is_constant(parsed, graph.tensors[index])
            ]
            present = [ranges[name] for index in activations if (name := _tensor_name(parsed, index)) in ranges]
            if not present:
                continue
            union = {
                "min": np.min([each["min"].min() for each in present]),
                "max": np.max([each["max"].max() for each in present]),
            }
            for index in activations:
                if _tensor_name(parsed, index) not in ranges:
                    _set(ranges, parsed, index, union)


def _set(ranges: Ranges, parsed: Any, index: int, ends: Mapping[str, Any]) -> None:
    tensor = parsed.subgraphs[0].tensors[index]
    shape = (1,) * len(tensor.shape)
    ranges[tensor.name.decode()] = {
        end: np.full(shape, np.asarray(ends[end]).reshape(-1)[0], np.float32) for end in ("min", "max")
    }


def _tensor_name(parsed: Any, index: int) -> str:
    return str(parsed.subgraphs[0].tensors[index].name.decode())
