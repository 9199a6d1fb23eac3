"""Times a gated model on this host as a bundle would run it, without writing the bundle."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gatesearch.compile import passes, tflite
from gatesearch.compile.byte_parts import write_parts
from gatesearch.compile.tflite import Converter, channel_last, convert
from gatesearch.cost.sources.host.steady_timing import Settled, spread
from gatesearch.devices.profile import Device
from gatesearch.kernels import native
from gatesearch.model import GatedModel
from gatesearch.runtime.byte_parts_program import load_parts
from gatesearch.runtime.cascade import Cascade, Runnable
from gatesearch.runtime.program import Program


class StageExecutable(NamedTuple):
    """One stage as a bundle would hold it.

    Args:
        parts: descriptions of the stage's parts, as in a manifest; empty if one program runs the whole stage.
        blobs: contents of the program files, one for each part, or one for the stage.
    """

    parts: list[dict[str, Any]]
    blobs: list[bytes]


def assemble(
    model: GatedModel, features: Tensor, device: Device, converter: Converter = convert
) -> list[StageExecutable]:
    """Compile every stage of a model for its core, with kernels if the core runs them.

    Args:
        model: the model in evaluation mode.
        features: samples [n, *shape] that calibrate the int8 ranges.
        device: the device that has the plan's cores; this host runs the programs of all these cores.
        converter: a function that converts a module, given an example of each input, to a .tflite program.
    """
    stages: list[StageExecutable] = []
    for stage in passes.run(model, features, device):
        if stage.parts:
            files, _ = write_parts(stage, converter)
            stages.append(StageExecutable([file.entry for file in files], [file.blob for file in files]))
            continue
        # As in a bundle, the input has the int8 range of the previous stage's output, so no value is rounded again.
        int8 = stage.arithmetic == "int8"
        input_range = Program(stages[-1].blobs[-1]).outputs[0].range if stages and int8 else None
        stages.append(StageExecutable([], [tflite.compile(stage, input_range, converter)]))
    return stages


def cascade(stages: Sequence[StageExecutable]) -> Cascade:
    """Load the stages into a cascade whose gates let every window pass.

    Raises:
        ValueError: a stage needs kernels, and this host has no C compiler.
    """
    library = native.load()
    if library is None and any(stage.parts for stage in stages):
        raise ValueError("no compiler for kernels")
    programs: list[Runnable] = [
        load_parts(stage.parts, stage.blobs, library) if stage.parts and library else Program(stage.blobs[0])
        for stage in stages
    ]
    gates = len(programs) - 1
    return Cascade(programs, [None] * gates, [-math.inf] * gates, [0] * gates)


def time_models(
    models: Mapping[str, Sequence[StageExecutable]], window: Tensor, seconds: float = 1.5, least: float = 0.5
) -> Settled:
    """Time one window through all stages of several models, on one thread; see :func:`steady_timing.spread`.

    Args:
        models: the stages of each model, by name.
        window: features [1, *shape]; every gate lets them pass.
        seconds: seconds after which no further pass of timings begins.
        least: minimum duration of all passes, in seconds.
    """
    calls = {}
    for name, stages in models.items():
        subject = cascade(stages)
        calls[name] = partial(subject.run, subject.programs[0].inputs[0].quantise(channel_last(window.numpy())))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return spread([{name: call} for name, call in calls.items()], seconds, least)
    finally:
        torch.set_num_threads(threads)
