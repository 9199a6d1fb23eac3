"""Compiles each stage of a model to the graph and .tflite program from which exporters make files."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gatesearch.compile import passes, tflite
from gatesearch.compile.stage import StageGraph
from gatesearch.devices.profile import Core, Device
from gatesearch.gates.gc.lowered import pool_frames_first
from gatesearch.model import GatedModel
from gatesearch.runtime.program import Program


@dataclass(frozen=True, slots=True)
class CompiledStage:
    """A stage after the passes and the back end for .tflite.

    Args:
        graph: the stage as the passes leave it.
        tflite: bytes of the stage's .tflite program, in the number format of its core.
        program: the same program, loaded in the engine that stands in for the core on this host.
        core: the core that runs the stage.
        exit: the stage that computes the answer of samples that leave at the gate; None if their answer is constant.
        input_range: smallest and largest value of an input that lies on an int8 grid; None for any other.
    """

    graph: StageGraph
    tflite: bytes
    program: Program
    core: Core
    exit: CompiledStage | None = None
    input_range: tuple[float, float] | None = None


def compile_stages(
    model: GatedModel,
    calibration: Tensor,
    device: Device,
    input_range: tuple[float, float] | None = None,
    time_axis: int | None = None,
) -> list[CompiledStage]:
    """Compile every stage of a model: run the passes, then the back end for .tflite.

    Args:
        model: the calibrated model.
        calibration: features [n, *shape] from the training split, for quantisation ranges.
        device: the device that has the cores of the plan.
        input_range: smallest and largest feature of a front end whose features lie on an int8 grid of 256 values; None
            for any other front end.
        time_axis: which axis of a map [C, H, W] is time, for stages that run by hops as well; else None.
    """
    stages: list[CompiledStage] = []
    for graph, name in zip(passes.run(model, calibration, device), model.plan.cores, strict=True):
        # The input has the int8 grid of the previous stage's output, so no value is rounded between the two stages.
        before = stages[-1].program.outputs[0].range if stages else input_range
        if time_axis is not None:
            pool_frames_first(graph.head, time_axis)  # this changes the head that the passes made, not the model's
        stages.append(_compile(graph, device.core(name), before))
    return stages


def _compile(graph: StageGraph, core: Core, input_range: tuple[float, float] | None) -> CompiledStage:
    blob = tflite.compile(graph, input_range)
    program = Program(blob, core.find_stand_in(graph.arithmetic))
    light = None if graph.exit is None else _compile(graph.exit, core, program.outputs[0].range)
    return CompiledStage(graph=graph, tflite=blob, program=program, core=core, exit=light, input_range=input_range)
