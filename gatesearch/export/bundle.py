"""Write a bundle: one artifact a stage, core and format, and a manifest that says how to run them."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gatesearch.compile import passes, tflite
from gatesearch.compile.stage import StageGraph
from gatesearch.compile.tflite import channel_last
from gatesearch.devices.profile import Core, Device
from gatesearch.export.formats import exporter
from gatesearch.gates import cut_gates, layer_gates, work_of
from gatesearch.graph.sites import LayerSite
from gatesearch.model import GatedModel
from gatesearch.plan import PlacedGate
from gatesearch.runtime.bundle import MANIFEST, requantise
from gatesearch.runtime.program import Program, TensorSpec
from gatesearch.training import FeatureSplit
from gatesearch.training.evaluate import most_stopped

INT8_MIN = -128


def write(
    folder: Path,
    model: GatedModel,
    device: Device,
    calibration: Tensor,
    validation: FeatureSplit,
    positive: Tensor,
    *,
    formats: Sequence[str],
    classes: Sequence[str],
    about: Mapping[str, Any],
    input_range: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Export a model and return its manifest.

    The thresholds are set anew, on the integer logits of the exported stages, and written back into ``model`` halfway
    between two integers: what the artifact decides is then what the model decides, but for rounding inside the stage.

    Args:
        folder: replaced as a whole, once everything in it is complete.
        model: retrained and calibrated; its thresholds and answers are changed.
        device: the cores that the plan names.
        calibration: features [n, *shape] from the training split, for quantisation ranges.
        validation: for the thresholds.
        positive: whether each class is a positive, [classes].
        formats: wanted beside what a core needs; a core gets those that it runs.
        classes: names.
        about: further entries of the manifest, such as the front end.
        input_range: smallest and largest feature, where the front end gives int8 steps.
    """
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    for left in folder.parent.glob(f"{folder.name}.*.part"):  # by a run that was cut off
        shutil.rmtree(left, ignore_errors=True)
    stages = passes.run(model, calibration, device)
    blobs, programs = [], list[Program]()
    for stage, name in zip(stages, model.plan.cores, strict=True):
        # On the grid of the stage before, nothing is rounded between them.
        core = device.core(name)
        blobs.append(tflite.compile(stage, programs[-1].outputs[0].range if programs else input_range))
        programs.append(Program(blobs[-1], core.engine))
    ends = [
        None if stage.exit is None else tflite.compile(stage.exit, program.outputs[0].range)
        for stage, program in zip(stages, programs, strict=True)
    ]
    thresholds = _calibrate(model, stages, programs, validation, positive)
    entries = []
    for k, (stage, blob, program, end) in enumerate(zip(stages, blobs, programs, ends, strict=True)):
        core = device.core(model.plan.cores[k])
        written = _write_stage(part, k, stage, blob, core, formats)
        gated = k < len(model.gates)
        names = ("passed", "logit") if gated else ("logits" if len(model.output_shape) == 1 else "output",)
        pieces = _write_parts(part, k, stage, core)
        run_by = {piece["site"]: piece["kernel"] for piece in pieces}
        entries.append(
            {
                "index": k,
                "core": core.name,
                "engine": core.engine,
                "arithmetic": stage.arithmetic,
                "gated_layers": [
                    {**gate.to_dict(), "kernel": _kernel(site, gate), "runs": run_by.get(gate.site) or "reference"}
                    for site, gate, its_stage in zip(
                        model.layer_sites, layer_gates(model.plan), model.layer_stages, strict=True
                    )
                    if its_stage == k
                ],
                "program": written[0],
                "parts": pieces,
                "artifacts": written + [piece["program"] for piece in pieces],
                "input": _spec(program.inputs[0]),
                "outputs": {name: _spec(spec) for name, spec in zip(names, program.outputs, strict=True)},
                "logit_offset": stage.logit_offset,
                "channels": None if stage.leaving is None else list(stage.leaving),
                "gate": {
                    **cut_gates(model.plan)[k].to_dict(),
                    "theta": float(model.gate(k).theta),
                    "theta_integer": thresholds[k],
                    "answer": int(model.answers[k]),
                    # The exported logit e stands for the model's logit center + (e - 3) half_width / 3.
                    "logit": stage.logit_window,
                    "exit": None
                    if stage.exit is None or end is None
                    else _write_exit(part, k, stage.exit, end, core, formats),
                }
                if gated
                else None,
            }
        )
    manifest = {
        "bundle": 1,
        "digest": model.plan.digest,
        "plan": model.plan.to_dict(),
        "device": device.name,
        "classes": list(classes),
        "positive": positive.tolist(),
        "stages": entries,
        **about,
    }
    (part / MANIFEST).write_text(json.dumps(manifest, indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)
    return manifest


def artifacts(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every artifact that a manifest names: of each stage, then of the exit behind it."""
    found = []
    for stage in manifest["stages"]:
        end = (stage["gate"] or {}).get("exit") or {"artifacts": []}
        found += [*stage["artifacts"], *end["artifacts"]]
    return found


def _write_exit(
    part: Path, k: int, stage: StageGraph, model: bytes, core: Core, formats: Sequence[str]
) -> dict[str, Any]:
    written = _write_stage(part, k, stage, model, core, formats, "_exit")
    program = Program(model, core.engine)
    return {
        "program": written[0],
        "artifacts": written,
        "input": _spec(program.inputs[0]),
        "outputs": {"output": _spec(program.outputs[0])},
    }


def _write_parts(part: Path, k: int, stage: StageGraph, core: Core) -> list[dict[str, Any]]:
    """Write a stage a second time, in parts, where its core has kernels for its gated layers."""
    written = []
    for i, piece in enumerate(stage.parts):
        form, suffix = ("tflite", ".tflite") if piece.kernel is None else ("kernel", ".npz")
        program = _write(part, f"stage{k}_part{i}{suffix}", piece.to_bytes(tflite.convert), core, k, form)
        written.append(piece.describe() | {"program": program})
    return written


def _write(part: Path, name: str, blob: bytes, core: Core, k: int, form: str) -> dict[str, Any]:
    path = part / core.name / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(blob)
    return {
        "core": core.name,
        "stage": k,
        "format": form,
        "path": str(path.relative_to(part)),
        "bytes": len(blob),
        "sha256": hashlib.sha256(blob).hexdigest(),
    }


def _write_stage(
    part: Path, k: int, stage: StageGraph, model: bytes, core: Core, formats: Sequence[str], end: str = ""
) -> list[dict[str, Any]]:
    # The int8 .tflite comes first: it is what the NPU's file was compiled from and what verification runs.
    names = [
        "tflite",
        *(name for name in core.formats if name != "tflite" and (name in formats or len(core.formats) == 1)),
    ]
    written = []
    for name in names:
        form = exporter(name)
        blob = form.write(stage, model, core)
        written.append(_write(part, f"stage{k}{end}{form.suffix}", blob, core, k, name))
    return written


def _calibrate(
    model: GatedModel,
    stages: Sequence[StageGraph],
    programs: Sequence[Program],
    validation: FeatureSplit,
    positive: Tensor,
) -> list[float]:
    """Set every threshold on the exported logits of the samples that arrive, and return it as the artifact has it."""
    thresholds = []
    features = channel_last(validation.features.numpy())
    hidden = [programs[0].inputs[0].quantise(features[i : i + 1]) for i in range(len(features))]
    labels = validation.labels
    for k, program in enumerate(programs[:-1]):
        outputs = [program(x) for x in hidden]
        values = torch.tensor([logit.flat[0].item() for _, logit in outputs])
        spec = program.outputs[1]
        gate = model.gate(k)
        gate.calibrate(values.float(), positive[labels])
        # It is -inf where nothing is to be stopped, and that is no number of an artifact.
        threshold, between = max(INT8_MIN - 1, float(gate.theta)), 0.0
        if spec.scale:
            # "Above theta" over integers: the whole part of theta, rounded down.
            threshold, between = math.floor(threshold), 0.5
        thresholds.append(threshold)
        gate.theta.fill_(stages[k].gate_logit(spec.value(threshold + between)))
        go = values > threshold
        model.answers[k] = most_stopped(labels[~go], labels, positive)
        following = programs[k + 1].inputs[0]
        hidden = [
            requantise(outputs[i][0], program.outputs[0], following) for i in torch.nonzero(go).flatten().tolist()
        ]
        labels = labels[go]
    return thresholds


def _kernel(site: LayerSite, gate: PlacedGate) -> dict[str, Any]:
    """Say which kernel a core needs to skip what the gate leaves out; the program computes all of it and masks.

    One call for each part of the layer's work, with the magnitude bits of activations and weights, the names of what is
    skipped and the share of the layer's multiplications that is there at all, as in :class:`gatesearch.gates.Call`.
    """
    calls = work_of(site, gate).calls
    return {
        "op": site.op,
        "calls": [
            {"bits": list(call.bits), "skips": [name for name, _ in call.left], "size": call.size} for call in calls
        ],
    }


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {
        "shape": list(spec.shape),
        "dtype": str(spec.dtype),
        "scale": float(spec.scale),
        "zero_point": int(spec.zero_point),
    }
