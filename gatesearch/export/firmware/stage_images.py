"""Compiles the programs of a bundle's stages for firmware."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gatesearch.errors import UserError
from gatesearch.export.firmware.compiled_program import read_kernel, read_parts
from gatesearch.export.firmware.output_copies import copy_outputs
from gatesearch.export.firmware.program_image import ProgramImage
from gatesearch.kernels.library import Library
from gatesearch.runtime.bundle import Bundle, HopPrograms
from gatesearch.runtime.byte_parts_program import BytePartsProgram
from gatesearch.runtime.hop_kernel import HopKernel
from gatesearch.runtime.program import Program
from gatesearch.runtime.stage_operators import Unsupported


@dataclass(frozen=True, slots=True)
class StageImages:
    """The programs of one stage.

    Args:
        names: the names of the programs in ``gs_stage``: ``catch_up``, and ``step`` if the stage runs by hops.
        images: the programs.
        window, fresh: frames of a whole window and of a hop; both are 1 for a stage that does not run by hops.
        row: number of values of a frame.
        state_bytes: bytes of the state.
    """

    names: Sequence[str]
    images: Sequence[ProgramImage]
    window: int
    fresh: int
    row: int
    state_bytes: int


def compile_stages(bundle: Bundle, library: Library) -> list[StageImages]:
    """Return the programs of each stage.

    Raises:
        UserError: no kernel computes an operator of a stage; the message names both.
    """
    by_hops = bundle.hop_programs() if bundle.manifest.get("hops") else [None] * len(bundle.programs)
    stages = []
    for k, (program, hops) in enumerate(zip(bundle.programs, by_hops, strict=True)):
        following = by_hops[k + 1] if k + 1 < len(by_hops) else None
        axis = 0 if following is None else following.axis
        obstacle = bundle.manifest["stages"][k].get("kernel_obstacle")
        if obstacle:
            raise UserError(f"{bundle.folder}: firmware: stage {k} has no int8 program for kernels: {obstacle}")
        try:
            if isinstance(program, BytePartsProgram):
                stages.append(_in_parts(program))
                continue
            if not isinstance(program, Program):
                raise Unsupported("its gated layers are in float; firmware takes int8 alone")
            stages.append(_whole(program, axis, library) if hops is None else _by_hops(program, hops, axis, library))
        except Unsupported as error:
            raise UserError(f"{bundle.folder}: firmware: stage {k}: {error}") from None
    return stages


def compile_exits(bundle: Bundle, library: Library) -> list[ProgramImage | None]:
    """Return the program of each gate's exit; None for a gate without one.

    Raises:
        UserError: no kernel computes an operator of an exit; the message names both.
    """
    by_hops = bundle.hop_programs() if bundle.manifest.get("hops") else [None] * len(bundle.programs)
    images: list[ProgramImage | None] = []
    for k, (program, hops) in enumerate(zip(bundle.exits, by_hops[1:], strict=True)):
        if program is None:
            images.append(None)
            continue
        assert isinstance(program, Program)
        try:
            axes = (0 if hops is None else hops.axis, [0])
            kernel = HopKernel(program.model, program.inputs, program.outputs, axes, library)
        except Unsupported as error:
            raise UserError(f"{bundle.folder}: firmware: exit of gate {k}: {error}") from None
        images.append(_image(kernel))
    return images


def _image(kernel: HopKernel) -> ProgramImage:
    return ProgramImage(copy_outputs(read_kernel(kernel)))


def _whole(program: Program, axis: int, library: Library) -> StageImages:
    axes = [axis, *(0 for _ in program.outputs[1:])]
    kernel = HopKernel(program.model, program.inputs, program.outputs, (0, axes), library)
    return StageImages(("catch_up",), [_image(kernel)], window=1, fresh=1, row=kernel.size, state_bytes=0)


def _in_parts(program: BytePartsProgram) -> StageImages:
    image = ProgramImage(read_parts(program))
    return StageImages(("catch_up",), [image], window=1, fresh=1, row=image.input[1], state_bytes=0)


def _by_hops(program: Program, hops: HopPrograms, axis: int, library: Library) -> StageImages:
    own = [axis, *(0 for _ in program.outputs[1:])]
    step = HopKernel(hops.step.model, hops.step.inputs, hops.step.outputs, (hops.axis, own), library)
    # A catch-up also computes the state from which the next hop starts. It writes this state behind its outputs, in
    # the order in which the step reads it.
    all_axes = [*own, *(0 for _ in hops.catch_up.outputs[len(own) :])]
    catch_up = HopKernel(
        hops.catch_up.model, hops.catch_up.inputs, hops.catch_up.outputs, (hops.axis, all_axes), library
    )
    images = [_image(each) for each in (catch_up, step)]
    row = int(np.prod(hops.step.inputs[0].shape)) // hops.fresh
    return StageImages(("catch_up", "step"), images, hops.window, hops.fresh, row, images[1].state[1])
