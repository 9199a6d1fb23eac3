"""Writes gs_plan.c and gs_plan.h: the trained plan of a bundle as constant structures of C."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np

from gatesearch.errors import UserError
from gatesearch.export.firmware.arrays import number, structure
from gatesearch.export.firmware.c_names import macro_names, string
from gatesearch.export.firmware.definitions import Definitions
from gatesearch.export.firmware.frontend_source import (
    count_scratch,
    define_frontend,
    define_ring,
    define_signal_gate,
    in_fixed_point,
    measure_closed,
    open_frontend,
)
from gatesearch.export.firmware.memory_plan import align
from gatesearch.export.firmware.program_image import ProgramImage
from gatesearch.export.firmware.program_source import ARENA, SCRATCH, ProgramSource
from gatesearch.export.firmware.shared_memory import SAMPLES, count_extra_bytes, memory_text
from gatesearch.export.firmware.stage_images import compile_exits, compile_stages
from gatesearch.export.firmware.stage_source import define_stages
from gatesearch.kernels.arrays import Array
from gatesearch.kernels.library import Library
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.chain import ChainSettings, read_chain
from gatesearch.runtime.detector import DetectorSettings
from gatesearch.runtime.listener import StreamFormat, read_detector
from gatesearch.runtime.posteriors import list_powers

EMPTY = np.zeros(1, np.uint8)  # C has no empty arrays
MAX_BITS = 32  # gatesearch.c stores one bit for each stage, and for each phase of a stage
MAX_INT32 = 2**31 - 1


@dataclass(frozen=True, slots=True)
class PlanText:
    """The generated files, and the bytes that they need.

    Args:
        source: content of gs_plan.c.
        header: content of gs_plan.h.
        flash: bytes of constants by part.
        ram: bytes of working memory by part.
    """

    source: str
    header: str
    flash: Mapping[str, int]
    ram: Mapping[str, int]


def write_plan(bundle: Bundle, library: Library) -> PlanText:
    """Return the C text of a plan.

    Args:
        bundle: a bundle of a run with goal detection, opened with the engine ``litert`` on every core.
        library: the C kernels of this host.

    Raises:
        UserError: no C kernel runs the front end or a stage, or firmware does not support a gate; the message names the
            part.
    """
    where = str(bundle.folder)
    settings, stream = read_detector(bundle.manifest, where)
    chain = read_chain(bundle.manifest, where)
    phases = bundle.manifest["hops"]["phases"] if bundle.manifest.get("hops") else 1
    _check(bundle, chain, stream, phases)
    kernel = open_frontend(bundle, library)
    stages = compile_stages(bundle, library)
    closed = measure_closed(kernel, stream, chain.signal)
    define = Definitions(shares=closed is not None)
    exits = compile_exits(bundle, library)
    images = [image for stage in stages for image in stage.images]
    images += [image for image in exits if image is not None]
    programs = ProgramSource(images, define.arrays)
    scratch = max(programs.scratch_bytes, count_scratch(kernel))
    fields = {
        "hop": stream.hop,
        "window": stream.window,
        **define_ring(define, kernel, stream),
        "backlog": "NULL" if closed is None else SAMPLES,
        "phases": phases,
        "n_stages": len(stages),
        **define_signal_gate(define, chain.signal, stream),
        "frontend": define_frontend(define, kernel, stream, bundle.programs[0].inputs[0], SCRATCH),
        "stages": define_stages(define, bundle, stages, exits, programs, chain.gates, phases),
        "powers": define.arrays.add(list_powers(bundle.programs[-1].outputs[0].scale)),
        "detector": _define_detector(define, settings),
        "labels": "labels",
        "passed": define.stage_memory("int8_t", "passed", max(len(image.outputs) for image in images), "outputs"),
        **_define_leaving(define, exits),
        "arena": ARENA,
        "fills": define.constants(
            "gs_fill", "fills", [_fill(define, *each) for each in programs.fills or [(0, EMPTY)]]
        ),
        "n_fills": len(programs.fills),
        "scratch_bytes": f"sizeof({SCRATCH})",
    }
    define.ram |= {"arena": programs.arena_bytes, "scratch": scratch}
    if extra := count_extra_bytes(programs.arena_bytes + align(scratch) + define.shared_bytes, closed):
        define.ram["samples beyond the memory of stages"] = extra
    sizes = f"{scratch} + {programs.steps} * GS_STEP_ROOM + {programs.blocks} * GS_BLOCK_ROOM"
    labels = ", ".join(string(name) for name in settings.classes)
    definitions = [
        "/* Generated: the trained plan. gs_chain.h describes the structures. */",
        "#include <math.h>",
        '#include "gs_chain.h"',
        '#include "gs_plan.h"',
        '#include "simd.h"',
        "",
        "#define GS_ALIGNED __attribute__((aligned(16)))",
        "#define GS_OWN(stage, value) ((stage) < GS_OWN_STAGES ? (value) : 0)",
        *memory_text(programs.arena_bytes, sizes, define.shared, closed),
        define.arrays.text(),
        programs.text,
        *define.lines,
        f"static const char *const labels[{len(settings.classes)}] = {{{labels}}};",
        f"const gs_plan gs_the_plan = {structure(fields)};",
        "",
    ]
    if programs.winner_bytes:
        define.ram["winners of gated layers"] = programs.winner_bytes
    # The header and the source of two plans do not compile together.
    key = f"0x{hashlib.sha256(repr(definitions).encode()).hexdigest()[:8]}u"
    mismatch = '#error "gs_plan.h and gs_plan.c are of different plans: copy both"'
    source = [*definitions[:4], f"#if GS_PLAN_KEY != {key}", mismatch, "#endif", *definitions[4:]]
    header = _header(
        bundle.manifest,
        settings,
        stream,
        stages=len(stages),
        layers=programs.layers,
        key=key,
        fixed_point=in_fixed_point(kernel),
    )
    return PlanText("\n".join(source), header, {"constants": define.arrays.bytes}, dict(define.ram))


def _define_leaving(define: Definitions, exits: Sequence[ProgramImage | None]) -> dict[str, str]:
    """Define the memory for the window of an exit, and return its field of ``gs_plan``."""
    sizes = [image.input[1] for image in exits if image is not None]
    return {"leaving": define.memory("int8_t", "leaving", max(sizes), "exits of gates")} if sizes else {}


def _fill(define: Definitions, place: int, values: Array) -> str:
    """Return the initialiser of a range of the arena with constant values; equal values are written as one number."""
    fields: dict[str, object] = {"place": place, "length": len(values), "value": int(values[0])}
    if (values != values[0]).any():
        fields["values"] = define.arrays.add(values)
    return structure(fields)


def _check(bundle: Bundle, chain: ChainSettings, stream: StreamFormat, phases: int) -> None:
    for count, name in ((len(bundle.programs), "stages"), (phases, "phases")):
        if count > MAX_BITS:
            raise UserError(f"{bundle.folder}: the plan has {count} {name}; firmware runs at most {MAX_BITS}")
    if stream.window % stream.hop and chain.signal is not None:
        raise UserError(
            f"{bundle.folder}: with a gate on the signal, firmware needs a window that is a whole number of hops; the "
            f"window has {stream.window} samples, a hop {stream.hop}"
        )


def _define_detector(define: Definitions, settings: DetectorSettings) -> str:
    positives = len(settings.positives)
    thresholds = np.broadcast_to(np.asarray(settings.threshold, float), (positives,))
    values = {
        "outputs": settings.smoothing * positives,
        "smoothed": settings.hits * positives,
    }
    return define.constant(
        "gs_detector",
        "detector",
        {
            "classes": len(settings.classes),
            "positives": positives,
            "columns": define.arrays.add(np.array(settings.columns, np.int32)),
            "thresholds": define.constants("double", "thresholds", [number(each) for each in thresholds.tolist()]),
            "smoothing": settings.smoothing,
            "hits": settings.hits,
            "refractory": min(settings.refractory_hops, MAX_INT32),
            **{name: define.memory("double", name, count, "detector") for name, count in values.items()},
        },
    )


def _header(
    manifest: Mapping[str, Any],
    settings: DetectorSettings,
    stream: StreamFormat,
    *,
    stages: int,
    layers: Sequence[str],
    key: str,
    fixed_point: bool,
) -> str:
    classes = "\n".join(f"#define GS_CLASS_{name} {k}" for k, name in enumerate(macro_names(settings.classes)))
    kernels = "".join(
        f"#define GS_HAS_{name.upper()} /* kernels.c compiles the kernels of such layers */\n" for name in layers
    )
    return f"""/* Generated: the sizes of the trained plan. */
#ifndef GS_PLAN_H
#define GS_PLAN_H

#define GS_VERSION {string(metadata.version("gatesearch"))}
#define GS_PLAN_DIGEST {string(manifest["digest"])}
#define GS_WEIGHTS_DIGEST {string(manifest.get("made_from", {}).get("weights", ""))}
#define GS_PLAN_KEY {key} /* gs_plan.c holds the same number */
#define GS_RATE {stream.rate} /* samples per second */
#define GS_HOP {stream.hop} /* samples that each call of gatesearch_process reads */
#define GS_WINDOW {stream.window} /* samples in the window of one decision */
#define GS_STAGES {stages}
#ifndef GS_OWN_STAGES
#define GS_OWN_STAGES GS_STAGES /* stages whose weights the library holds; gatesearch_run_stage computes later ones */
#endif
#define GS_FIXED_POINT {int(fixed_point)} /* 1: the front end computes in integers; 0: in float */
#define GS_HOP_SECONDS {settings.hop_s!r}
#define GS_FIRST_SECONDS {settings.time_s(0)!r} /* time at which the window of hop 0 ends */
#define GS_CLASSES {len(settings.classes)}
{classes}
{kernels}
#endif
"""
