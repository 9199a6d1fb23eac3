"""Compiles the stages of a bundle into programs that run hop by hop on a stream.

A hop is the time from one decision to the next. Each stage gets two programs. The step computes the new frames of a
hop. The other program catches up on a whole window when the gate before the stage opens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gatesearch._lib import console
from gatesearch._lib.tool_output import ToolError
from gatesearch.compile.hop_programs import HopPrograms, compile_hops
from gatesearch.compile.tflite import channel_last_axis
from gatesearch.errors import UserError, first_line
from gatesearch.export.compiled import CompiledStage
from gatesearch.graph.hops import Frames, HopNetwork
from gatesearch.graph.trace import trace_program
from gatesearch.runtime.program import Program


@dataclass(frozen=True, slots=True)
class HopSetting:
    """How a bundle runs by hops.

    If the strides of a network do not divide the hop, the network has several states, its *phases*. They take turns:
    of two phases, one runs at even hops and the other at odd hops.

    Args:
        frames: the time axis of the features; its hop is the number of frames between two runs of the same phase.
        phases: number of phases; 1 if the strides divide the hop.
    """

    frames: Frames
    phases: int = 1

    def describe(self) -> dict[str, int]:
        """Return the entry of a manifest: frames of the features in a window and in a hop, and the phases."""
        return {"window": self.frames.count, "hop": self.frames.hop // self.phases, "phases": self.phases}


@dataclass(frozen=True, slots=True)
class HopStage:
    """A stage that runs by hops.

    Args:
        programs: the stage's step, and the program that catches up.
        step: the step, loaded in the engine that stands in for the stage's core.
        axis: the time axis of the programs' input, channels last.
        window: number of frames of a whole window on this axis.
        fresh: number of frames of a hop on this axis.
    """

    programs: HopPrograms
    step: Program
    axis: int
    window: int
    fresh: int


def compile_hop_stages(
    stages: Sequence[CompiledStage], setting: HopSetting, input_range: tuple[float, float] | None = None
) -> list[HopStage | None] | None:
    """Return the programs by hops of each stage; None if a stage cannot run by hops.

    In that case, a warning names the obstacle. A stage whose input has no time axis runs its program for whole windows
    at each hop; its entry in the list is None.

    Args:
        stages: the compiled stages of a model, in order.
        setting: the time axis of the features.
        input_range: smallest and largest feature of a front end that returns int8 features; else None.
    """
    result: list[HopStage | None] = []
    frames: Frames | None = setting.frames
    before = input_range
    for k, stage in enumerate(stages):
        if frames is None:
            result.append(None)
            continue
        try:
            network = _network(stage, frames)
            result.append(_compile(stage, network, before))
        except (UserError, ToolError) as error:
            console.warn(
                f"export: stage {k} has no programs by hops: {first_line(error)}; the bundle runs whole windows"
            )
            return None
        frames, before = network.output_frames, stage.program.outputs[0].range
    return result


def _network(stage: CompiledStage, frames: Frames) -> HopNetwork:
    """Return a stage with its head as a network by hops.

    Raises:
        UserError: a layer cannot run by hops.
    """
    if stage.graph.parts:
        raise UserError("its gated layers run by kernels, which take whole windows")
    shape = tuple(stage.graph.samples.shape[1:])
    return HopNetwork(trace_program(stage.graph.program), shape, frames.axis - 1, frames.hop).eval()


def _compile(stage: CompiledStage, network: HopNetwork, before: tuple[float, float] | None) -> HopStage:
    frames = network.frames
    assert frames is not None
    in_float = stage.graph.arithmetic == "float32"
    programs = compile_hops(network, stage.graph.samples, None if in_float else before, in_float)
    rank = stage.graph.samples.ndim
    return HopStage(
        programs=programs,
        step=Program(programs.step, stage.program.engine),
        axis=channel_last_axis(frames.axis, rank),
        window=frames.count,
        fresh=frames.fresh,
    )
