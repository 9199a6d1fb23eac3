"""Compiles the stages of a bundle to run by hops: each gets a step and a program that catches up on a whole window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gatesearch._lib import console
from gatesearch._lib.tool_output import ToolError
from gatesearch.compile.hop_programs import HopPrograms, compile_hops
from gatesearch.errors import UserError, first_line
from gatesearch.export.compiled import CompiledStage
from gatesearch.graph.hops import Frames, HopNetwork
from gatesearch.graph.trace import trace_program
from gatesearch.runtime.program import Program


@dataclass(frozen=True, slots=True)
class HopSetting:
    """How a bundle runs by hops.

    Args:
        frames: the time axis of the features, with the frames of a hop in each phase.
        phases: number of states that take turns, where strides do not divide the hop.
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
        programs: its step, and the program that catches up.
        step: the step, loaded in the engine that stands in for the stage's core.
        axis: the time axis of the programs' input, channels last.
        window: frames of a whole window there.
        fresh: frames of a hop there.
    """

    programs: HopPrograms
    step: Program
    axis: int
    window: int
    fresh: int


def compile_hop_stages(
    stages: Sequence[CompiledStage], setting: HopSetting, input_range: tuple[float, float] | None = None
) -> list[HopStage | None] | None:
    """Return the stages by hops, None for one behind the last time axis: it runs its program at each hop.

    Where a stage cannot run by hops, a warning names what stands in the way, and there are no such stages at all.

    Args:
        stages: the compiled stages of a model, in order.
        setting: the time axis of the features.
        input_range: smallest and largest feature of a front end that returns int8 steps; else None.
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
        UserError: a layer stands in the way.
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
        step=Program(programs.step, stage.core.stand_in),
        axis=channel_last_axis(frames.axis, rank),
        window=frames.count,
        fresh=frames.fresh,
    )


def channel_last_axis(axis: int, rank: int) -> int:
    """Return an axis of a tensor, batch included, where channels come last: of rank 4 they do in a .tflite.

    >>> channel_last_axis(2, rank=4), channel_last_axis(1, rank=3)
    (1, 1)
    """
    return (0, 3, 1, 2)[axis] if rank == 4 else axis
