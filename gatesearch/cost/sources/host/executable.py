"""The stages of a model, ready to run and to be timed on this host as in a bundle, but without one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gatesearch.compile import passes, tflite
from gatesearch.compile.partition import part_to_bytes
from gatesearch.compile.tflite import Converter, channel_last, convert
from gatesearch.cost.sources.host.steady_timing import Settled, spread
from gatesearch.devices.profile import Device
from gatesearch.kernels import native
from gatesearch.model import GatedModel
from gatesearch.runtime.cascade import Cascade, Runnable
from gatesearch.runtime.parts_program import PartsProgram
from gatesearch.runtime.program import Program


class StageExecutable(NamedTuple):
    """One stage: a single program, or the parts that a manifest would describe; ``blobs`` are the files' contents."""

    parts: list[dict[str, Any]]
    blobs: list[bytes]


def assemble(
    model: GatedModel, features: Tensor, device: Device, converter: Converter = convert
) -> list[StageExecutable]:
    """Lower every stage of a model for its core, with kernels if the core runs them.

    Args:
        model: in evaluation mode.
        features: [n, *shape] samples that calibrate the int8 ranges.
        device: has the cores that the plan names; this host stands in for all of them.
        converter: makes a .tflite program of a module and an example of each input.
    """
    stages: list[StageExecutable] = []
    for stage in passes.run(model, features, device):
        if stage.parts:
            blobs = [part_to_bytes(part, converter) for part in stage.parts]
            stages.append(StageExecutable([part.describe() for part in stage.parts], blobs))
            continue
        # The input has the int8 range of the stage before, as in a bundle, so no value is rounded between them.
        int8 = stage.arithmetic == "int8"
        before = Program(stages[-1].blobs[-1]).outputs[0].range if stages and int8 else None
        stages.append(StageExecutable([], [tflite.compile(stage, before, converter)]))
    return stages


def cascade(stages: Sequence[StageExecutable]) -> Cascade:
    """Load the stages into a cascade whose gates let every window pass.

    Raises:
        ValueError: a stage has kernels, and there is no compiler for them.
    """
    library = native.load()
    if library is None and any(stage.parts for stage in stages):
        raise ValueError("no compiler for kernels")
    programs: list[Runnable] = [
        PartsProgram(stage.parts, stage.blobs, library) if stage.parts else Program(stage.blobs[0]) for stage in stages
    ]
    gates = len(programs) - 1
    return Cascade(programs, [None] * gates, [-math.inf] * gates, [0] * gates)


def time_models(
    models: Mapping[str, Sequence[StageExecutable]], window: Tensor, seconds: float = 1.5, least: float = 0.5
) -> Settled:
    """Time one window through all stages of several models, on one thread; see :func:`steady_timing.spread`.

    Args:
        models: the stages of each model, by name.
        window: [1, *shape]; every gate lets it pass.
        seconds: no further pass begins after this time.
        least: minimum duration of all passes, in seconds.
    """
    calls = {}
    for name, stages in models.items():
        loaded = cascade(stages)
        calls[name] = partial(loaded.run, loaded.programs[0].inputs[0].quantise(channel_last(window.numpy())))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return spread([{name: call} for name, call in calls.items()], seconds, least)
    finally:
        torch.set_num_threads(threads)
