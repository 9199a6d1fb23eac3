"""Checks each file of a bundle: runs the file, or inspects it, or at least checks its sha256.

The outputs of a file that runs are compared with the outputs of the stage's .tflite program.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gatesearch.compile.tflite import channel_first
from gatesearch.errors import first_line
from gatesearch.export.exporters import exporter
from gatesearch.export.hop_checks import compare_hop_programs
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.byte_parts_program import BytePartsProgram
from gatesearch.runtime.cascade import Runnable, requantise
from gatesearch.runtime.manifest import read_artifact
from gatesearch.runtime.parts_program import PartsProgram
from gatesearch.runtime.tensor_spec import TensorSpec

MAX_WINDOWS = 8  # windows that each file runs
HOP_WINDOWS = 2  # windows of the stream that programs by hops run
MAX_ERROR_SHARE = 0.1  # largest accepted root mean square difference, as a share of the output's range
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class ArtifactCheck:
    """The result of the check of one file.

    Args:
        path: the file's path in the bundle.
        format: name of its exporter, or ``"kernel"``.
        check: ``"run"``, ``"inspected"``, or ``"digest"`` if only the sha256 was checked.
        problem: one line that says what is wrong; empty for a good file.
    """

    path: str
    format: str
    check: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _StageRun:
    """A run of one stage or exit on some windows; inputs and outputs are in float, channels first.

    ``arrivals`` are the inputs as the program takes them.
    """

    arrivals: Sequence[Array]
    inputs: Sequence[Array]
    outputs: Sequence[tuple[Array, ...]]
    specs: Sequence[TensorSpec]


def check_artifacts(bundle: Bundle, windows: Array) -> tuple[ArtifactCheck, ...]:
    """Check every file that a bundle's manifest names.

    Args:
        bundle: the loaded bundle.
        windows: features [n, *shape], channels first; the first :data:`MAX_WINDOWS` are used.

    Raises:
        UserError: a file is missing, or its sha256 differs from that in the manifest.
    """
    checks: list[ArtifactCheck] = []
    by_hops = bundle.hop_programs()
    for k, run, exit_run in _run_stages(bundle, windows[:MAX_WINDOWS]):
        stage = bundle.manifest["stages"][k]
        in_parts = isinstance(bundle.programs[k], PartsProgram | BytePartsProgram)
        parts = {part["program"]["path"] for part in (*stage.get("parts", ()), *stage.get("kernel_parts", ()))}
        for artifact in stage["artifacts"]:
            if artifact["path"] in parts:
                checks.append(_check_part(bundle, artifact, in_parts))
            else:
                ran = not in_parts and artifact["path"] == stage["program"]["path"]
                checks.append(_check(bundle, artifact, stage["program"], run, ran))
        if exit_run is not None:
            light = stage["gate"]["exit"]
            for artifact in light["artifacts"]:
                ran = artifact["path"] == light["program"]["path"]
                checks.append(_check(bundle, artifact, light["program"], exit_run, ran))
        hops = by_hops[k]
        if hops is not None:
            problems = compare_hop_programs(bundle.programs[k], hops, run.arrivals[:HOP_WINDOWS])
            for name, problem in zip(("step", "catch_up"), problems, strict=True):
                checks.append(ArtifactCheck(stage["hops"][name]["path"], "tflite", "run", problem))
    return tuple(checks)


def describe_checks(checks: Sequence[ArtifactCheck]) -> str:
    """Return a line that says how many files ran, and names the files that did not run.

    >>> describe_checks([ArtifactCheck("a.tflite", "tflite", "run"), ArtifactCheck("b.tflite", "vela", "inspected")])
    'files: 1 run; inspected, not run on this host: b.tflite'
    """
    words = {"inspected": "inspected, not run on this host", "digest": "sha256 alone, not run on this host"}
    text = f"files: {sum(check.check == 'run' for check in checks)} run"
    for kind, meaning in words.items():
        paths = [check.path for check in checks if check.check == kind]
        text += f"; {meaning}: {', '.join(paths)}" if paths else ""
    return text


def _run_stages(bundle: Bundle, windows: Array) -> Iterator[tuple[int, _StageRun, _StageRun | None]]:
    """Run each stage, and the exit of its gate, as if every gate let every window pass."""
    hidden = [bundle.quantise(window) for window in windows]
    for k, program in enumerate(bundle.programs):
        outputs = [program(x) for x in hidden]
        light = bundle.exits[k] if k < len(bundle.exits) else None
        exit_run = None
        if light is not None:
            inputs = [requantise(y[0], program.outputs[0], light.inputs[0]) for y in outputs]
            exit_run = _record(light, inputs, [light(x) for x in inputs])
        yield k, _record(program, hidden, outputs), exit_run
        if k + 1 < len(bundle.programs):
            target = bundle.programs[k + 1].inputs[0]
            hidden = [requantise(y[0], program.outputs[0], target) for y in outputs]


def _record(program: Runnable, inputs: Sequence[Array], outputs: Sequence[tuple[Array, ...]]) -> _StageRun:
    return _StageRun(
        arrivals=inputs,
        inputs=[channel_first(program.inputs[0].dequantise(x)) for x in inputs],
        outputs=[
            tuple(channel_first(spec.dequantise(y)) for spec, y in zip(program.outputs, values, strict=True))
            for values in outputs
        ],
        specs=program.outputs,
    )


def _check_part(bundle: Bundle, artifact: Mapping[str, Any], ran: bool) -> ArtifactCheck:
    read_artifact(bundle.folder, artifact)
    return ArtifactCheck(artifact["path"], artifact["format"], "run" if ran else "digest")


def _check(
    bundle: Bundle, artifact: Mapping[str, Any], source: Mapping[str, Any], run: _StageRun, ran: bool
) -> ArtifactCheck:
    """Check one file of a stage or an exit.

    ``source`` is the manifest's entry of its .tflite program. ``ran`` says whether ``run`` is a run of this very file.
    """
    path, name = artifact["path"], artifact.get("format", "tflite")
    blob = read_artifact(bundle.folder, artifact)
    if ran:
        return ArtifactCheck(path, name, "run")
    form = exporter(name)
    try:
        outputs = [form.run(blob, x.astype(np.float32)) for x in run.inputs]
        if all(values is not None for values in outputs):
            return ArtifactCheck(path, name, "run", _difference(outputs, run, source["path"]))
        source_digest = artifact.get("source", source["sha256"])
        if source_digest != source["sha256"]:
            return ArtifactCheck(
                path, name, "inspected", f"the file was made from another program than {source['path']}"
            )
        problem = form.inspect(blob, read_artifact(bundle.folder, source))
    except OSError:
        raise
    except Exception as error:  # the library that reads the format refuses the file
        return ArtifactCheck(path, name, "run", f"the file cannot be run: {first_line(error)}")
    if problem is None:
        return ArtifactCheck(path, name, "digest")
    return ArtifactCheck(path, name, "inspected", problem)


def _difference(outputs: Sequence[tuple[Array, ...] | None], run: _StageRun, source: str) -> str:
    """Describe how outputs differ from those of the stage's program; empty if the difference is small enough."""
    for i, spec in enumerate(run.specs):
        expected = np.stack([values[i] for values in run.outputs])
        try:
            actual = np.stack([values[i] for values in outputs if values is not None])
        except IndexError:
            return f"the file has fewer outputs than {source}"
        if actual.shape != expected.shape:
            shapes = list(actual.shape[1:]), list(expected.shape[1:])
            return f"output {i} of the file has shape {shapes[0]}; that of {source} has {shapes[1]}"
        low, high = spec.range or (float(expected.min()), float(expected.max()))
        error = float(np.sqrt(np.square(actual - expected).mean())) / max(high - low, 1e-6)
        if not error <= MAX_ERROR_SHARE:
            return f"output {i} of the file differs from that of {source} by {error:.0%} of its range"
    return ""
