"""Writes the stages of a plan, and the gates between them, as C structures for the firmware."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gatesearch.export.firmware.arrays import structure
from gatesearch.export.firmware.definitions import Definitions
from gatesearch.export.firmware.program_source import ProgramSource
from gatesearch.export.firmware.stage_images import StageImages
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.stream_gate import StreamGateSettings


def define_stages(
    define: Definitions,
    bundle: Bundle,
    stages: Sequence[StageImages],
    programs: ProgramSource,
    gates: Sequence[StreamGateSettings],
    phases: int,
) -> str:
    """Define the stages and return the name of their array.

    Args:
        define: receives the definitions.
        bundle: the bundle.
        stages: the programs of each stage.
        programs: the same programs in order, as C text.
        gates: the settings of each gate between stages.
        phases: number of states that each stage has; successive hops use them in turn.
    """
    rows, index = [], 0
    for k, stage in enumerate(stages):
        fields: dict[str, Any] = {}
        for name in stage.names:
            define.lines.append(f"static const gs_hops {name}_{k} = {programs.describe(index)};")
            fields[name] = f"&{name}_{k}"
            index += 1
        fields |= {"window": stage.window, "fresh": stage.fresh, "row": stage.row}
        if k:
            fields |= define.scale_table(bundle.programs[k - 1].outputs[0], bundle.programs[k].inputs[0])
            count = phases * stage.window * stage.row
            fields["frames"] = define.memory("int8_t", f"frames_{k}", count, "features")
        if phases > 1 and stage.state_bytes:
            fields["saved"] = define.memory("uint8_t", f"saved_{k}", phases * stage.state_bytes, "states")
        if k < len(gates):
            fields["gate"] = _define_gate(define, bundle, k, gates[k])
        rows.append(structure(fields))
    return define.constants("gs_stage", "stages", rows)


def _define_gate(define: Definitions, bundle: Bundle, k: int, settings: StreamGateSettings) -> str:
    spec, entry = bundle.programs[k].outputs[1], bundle.manifest["stages"][k]["gate"]["logit"]
    fields = {
        "gate": structure(define.gate(settings, str(k))),
        "scale": np.float32(spec.scale),
        "zero": spec.zero_point,
        "center": float(entry["center"]),
        "half_width": float(entry["half_width"]),
    }
    return define.constant("gs_logit", f"logit_{k}", fields)
