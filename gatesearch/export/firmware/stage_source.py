"""Writes the stages of a plan, and the gates between them, as C structures for the firmware."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gatesearch.export.firmware.arrays import structure
from gatesearch.export.firmware.definitions import Definitions
from gatesearch.export.firmware.program_image import ProgramImage
from gatesearch.export.firmware.program_source import ProgramSource
from gatesearch.export.firmware.stage_images import StageImages
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.posteriors import list_powers
from gatesearch.runtime.stream_gate import StreamGateSettings


def define_stages(
    define: Definitions,
    bundle: Bundle,
    stages: Sequence[StageImages],
    exits: Sequence[ProgramImage | None],
    programs: ProgramSource,
    gates: Sequence[StreamGateSettings],
    phases: int,
) -> str:
    """Define the stages and return the name of their array.

    Args:
        define: receives the definitions.
        bundle: the bundle.
        stages: the programs of each stage.
        exits: the program of each gate's exit; None for a gate without one.
        programs: the programs of all stages, then of all exits, in order, as C text.
        gates: the settings of each gate between stages.
        phases: number of states that each stage has; successive hops use them in turn.
    """
    pointers = _define_exits(define, bundle, stages, exits, programs)
    rows, index = [], 0
    for k, stage in enumerate(stages):
        fields: dict[str, Any] = {}
        for name in stage.names:
            define.lines.append(f"static const gs_hops {name}_{k} = {programs.describe(index, stage=k)};")
            fields[name] = f"&{name}_{k}"
            index += 1
        fields |= {"window": stage.window, "fresh": stage.fresh, "row": stage.row}
        if k:
            fields |= define.scale_table(bundle.programs[k - 1].outputs[0], bundle.programs[k].inputs[0])
            count = phases * stage.window * stage.row
            fields["frames"] = define.stage_memory("int8_t", f"frames_{k}", count, "features")
        if phases > 1 and stage.state_bytes:
            fields["saved"] = define.stage_memory("uint8_t", f"saved_{k}", phases * stage.state_bytes, "states")
        if k < len(gates):
            fields["gate"] = _define_gate(define, bundle, k, gates[k], pointers.get(k))
        rows.append(structure(fields))
    return define.constants("gs_stage", "stages", rows)


def _define_exits(
    define: Definitions,
    bundle: Bundle,
    stages: Sequence[StageImages],
    exits: Sequence[ProgramImage | None],
    programs: ProgramSource,
) -> dict[int, str]:
    """Define the exits, and return the address of each by the index of its gate."""
    index = sum(len(stage.images) for stage in stages)
    pointers = {}
    for k, image in enumerate(exits):
        program = bundle.exits[k]
        if image is None or program is None:
            continue
        define.lines.append(f"static const gs_hops exit_program_{k} = {programs.describe(index)};")
        index += 1
        fields = {
            "program": f"&exit_program_{k}",
            **define.scale_table(bundle.programs[k + 1].inputs[0], program.inputs[0]),
            "powers": define.arrays.add(list_powers(program.outputs[0].scale)),
        }
        pointers[k] = define.constant("gs_exit", f"exit_{k}", fields)
    return pointers


def _define_gate(define: Definitions, bundle: Bundle, k: int, settings: StreamGateSettings, pointer: str | None) -> str:
    spec, entry = bundle.programs[k].outputs[1], bundle.manifest["stages"][k]["gate"]["logit"]
    fields: dict[str, Any] = {
        "gate": structure(define.gate(settings, str(k))),
        "scale": np.float32(spec.scale),
        "zero": spec.zero_point,
        "center": float(entry["center"]),
        "half_width": float(entry["half_width"]),
    }
    if pointer is not None:
        fields["exit"] = pointer
    return define.constant("gs_logit", f"logit_{k}", fields)
