"""A model's stages as a bundle would run them on this host, without a bundle: to be timed."""

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


class Assembled(NamedTuple):
    """One stage: a program alone, or parts as a manifest describes them; ``blobs`` are their files."""

    parts: list[dict[str, Any]]
    blobs: list[bytes]


def assemble(model: GatedModel, features: Tensor, device: Device, converter: Converter = convert) -> list[Assembled]:
    """Lower every stage of a model for its core, with kernels where the core runs them.

    Args:
        model: in evaluation mode.
        features: [n, *shape], for the ranges of int8.
        device: with the cores that the plan names; all of them stood in for by this host.
        converter: makes a .tflite program of a module and an example of each input.
    """
    stages: list[Assembled] = []
    for stage in passes.run(model, features, device):
        if stage.parts:
            blobs = [part_to_bytes(part, converter) for part in stage.parts]
            stages.append(Assembled([part.describe() for part in stage.parts], blobs))
            continue
        # On the grid of the stage before, as in a bundle: nothing is rounded between them.
        int8 = stage.arithmetic == "int8"
        before = Program(stages[-1].blobs[-1]).outputs[0].range if stages and int8 else None
        stages.append(Assembled([], [tflite.compile(stage, before, converter)]))
    return stages


def cascade(stages: Sequence[Assembled]) -> Cascade:
    """Return the stages ready to run; every gate lets every window pass.

    Raises:
        ValueError: kernels are wanted and cannot be compiled.
    """
    library = native.load()
    if library is None and any(stage.parts for stage in stages):
        raise ValueError("no compiler for kernels")
    programs: list[Runnable] = [
        PartsProgram(stage.parts, stage.blobs, library) if stage.parts else Program(stage.blobs[0]) for stage in stages
    ]
    gates = len(programs) - 1
    return Cascade(programs, [None] * gates, [-math.inf] * gates, [0] * gates)


def timed(
    models: Mapping[str, Sequence[Assembled]], window: Tensor, seconds: float = 1.5, least: float = 0.5
) -> Settled:
    """Time one window [1, *shape] through all stages of models, one thread; see :func:`steady.spread`.

    Args:
        models: by name, their stages.
        window: that every gate lets pass.
        seconds, least: of all of them together.
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
