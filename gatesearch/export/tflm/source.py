"""Writes the models and the plan of TensorFlow Lite Micro (TFLM) as C++ text."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

from gatesearch.errors import UserError
from gatesearch.export.firmware.c_names import macro_names
from gatesearch.export.tflm.operators import resolver_methods
from gatesearch.export.tflm.programs import STEP, Tensor, TflmProgram

BYTES_A_LINE = 24
_ARRAY = re.compile(r"\[(\d+)\] = \{([\d,\s]*)\}")


def model_text(program: TflmProgram) -> str:
    """Return the source of a model: its bytes as a constant array, which begins at a multiple of 16."""
    lines = [program.model[i : i + BYTES_A_LINE] for i in range(0, len(program.model), BYTES_A_LINE)]
    rows = ",\n".join("  " + ",".join(map(str, line)) for line in lines)
    origin = "compiled by Vela from" if program.npu else "equal to"
    return f"""/* Generated: {origin} {program.source["path"]} of the bundle, whose sha256 is
   {program.source["sha256"]}. */
#include "gs_tflm_plan.h"
alignas(16) const unsigned char {program.name}[{len(program.model)}] = {{
{rows}}};
"""


def read_model(text: str) -> bytes:
    """Return the bytes of a model from its source.

    Raises:
        UserError: the text holds no whole array.

    >>> read_model("alignas(16) const unsigned char a[3] = {1,2,3};")
    b'\\x01\\x02\\x03'
    """
    match = _ARRAY.search(text)
    try:
        values = bytes(map(int, match[2].split(","))) if match else b""
    except ValueError:
        values = b""
    if match is None or len(values) != int(match[1]):
        raise UserError("no whole array of bytes")
    return values


def header_text(programs: Sequence[TflmProgram], digest: str) -> str:
    """Return gs_tflm_plan.h: the sizes, the resolver's type, and the tables that gs_tflm.cc reads."""
    methods = resolver_methods(each.model for each in programs)
    cores = list(dict.fromkeys(each.core for each in programs))
    names = "\n".join(f"#define GS_TFLM_CORE_{name} {k}" for k, name in enumerate(macro_names(cores)))
    arrays = "\n".join(f"extern const unsigned char {each.name}[{len(each.model)}];" for each in programs)
    return f"""/* Generated: the programs of the later cores of a plan. */
#ifndef GS_TFLM_PLAN_H
#define GS_TFLM_PLAN_H

#include "gs_tflm_tables.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

#define GS_TFLM_PLAN_DIGEST "{digest}"
#define GS_TFLM_PROGRAMS {len(programs)}
#define GS_TFLM_STAGES {len({each.stage for each in programs})}
#define GS_TFLM_CORES {len(cores)}
{names}

using GsResolver = tflite::MicroMutableOpResolver<{len(methods)}>;

/* Add the operators of the models, and no others. */
TfLiteStatus gs_tflm_add_operators(GsResolver *resolver);

{arrays}
extern const gs_tflm_program gs_tflm_programs[GS_TFLM_PROGRAMS];
extern const gs_tflm_stage gs_tflm_stages[GS_TFLM_STAGES];

#endif
"""


def plan_text(programs: Sequence[TflmProgram], phases: int) -> str:
    """Return gs_tflm_plan.cc: the resolver, arenas, states and tables.

    Args:
        programs: the programs, in the order of the stages.
        phases: number of states that each stage keeps; successive hops take turns.
    """
    adding = [f"  if (resolver->{method}() != kTfLiteOk) return kTfLiteError;" for method in _methods(programs)]
    cores = list(dict.fromkeys(each.core for each in programs))
    arenas, tables, rows = [], [], []
    for each in programs:
        arenas.append(f"GS_TFLM_ARENA static uint8_t {each.name}_arena[{each.arena.bytes}];")
        tables += [_tensors(f"{each.name}_in", each.inputs), _tensors(f"{each.name}_out", each.outputs)]
        rows.append(
            f'  {{"{each.name}", {each.name}, {each.name}_arena, sizeof {each.name}_arena, {len(each.inputs)}, '
            f"{each.name}_in, {len(each.outputs)}, {each.name}_out, {each.own}}}"
        )
    states, stages = [], []
    for number, own in _by_stage(programs).items():
        size = sum(tensor.bytes for tensor in own[STEP].inputs[1:]) if STEP in own else 0
        if size:
            states.append(f"alignas(16) static int8_t gs_stage{number}_state[{phases} * {size}];")
        first = min(programs.index(each) for each in own.values())
        state = f"gs_stage{number}_state" if size else "nullptr"
        core = cores.index(next(iter(own.values())).core)
        stages.append(f"  {{{number}, {core}, {phases}, {first}, {first + 1 if STEP in own else -1}, {state}, {size}}}")
    newline = ",\n"
    return "\n".join(
        [
            "/* Generated: operators, memory and tables of the later cores. gs_tflm_tables.h describes the tables. */",
            '#include "gs_tflm_plan.h"',
            "",
            "/* A board may place the arenas, for example where its NPU reads: -DGS_TFLM_SECTION='\".npu_sram\"'. */",
            "#ifdef GS_TFLM_SECTION",
            "#define GS_TFLM_ARENA alignas(16) __attribute__((section(GS_TFLM_SECTION)))",
            "#else",
            "#define GS_TFLM_ARENA alignas(16)",
            "#endif",
            "",
            "TfLiteStatus gs_tflm_add_operators(GsResolver *resolver) {",
            *adding,
            "  return kTfLiteOk;",
            "}",
            "",
            *arenas,
            *states,
            *tables,
            f"const gs_tflm_program gs_tflm_programs[GS_TFLM_PROGRAMS] = {{\n{newline.join(rows)}}};",
            f"const gs_tflm_stage gs_tflm_stages[GS_TFLM_STAGES] = {{\n{newline.join(stages)}}};",
            "",
        ]
    )


def describe_programs(programs: Sequence[TflmProgram], digest: str) -> dict[str, object]:
    """Return the content of tflm.json: the plan, and the origin, size and arena of each model."""
    return {
        "tflm": 1,
        "digest": digest,
        "programs": [
            {
                "name": each.name,
                "stage": each.stage,
                "core": each.core,
                "source": dict(each.source),
                "npu": each.npu,
                "bytes": len(each.model),
                "sha256": hashlib.sha256(each.model).hexdigest(),
                "operators": each.methods,
                "arena": {
                    "bytes": each.arena.bytes,
                    "needed": each.arena.needed,
                    "provenance": each.arena.provenance,
                },
            }
            for each in programs
        ],
    }


def _methods(programs: Sequence[TflmProgram]) -> list[str]:
    return resolver_methods(each.model for each in programs)


def _by_stage(programs: Sequence[TflmProgram]) -> Mapping[int, dict[str, TflmProgram]]:
    stages: dict[int, dict[str, TflmProgram]] = {}
    for each in programs:
        stages.setdefault(each.stage, {})[each.role] = each
    return stages


def _tensors(name: str, tensors: Sequence[Tensor]) -> str:
    rows = ", ".join(f"{{{each.position}, {each.bytes}}}" for each in tensors)
    return f"static const gs_tflm_tensor {name}[{len(tensors)}] = {{{rows}}};"
