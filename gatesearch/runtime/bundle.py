"""The host loop that runs a bundle: stage by stage, stopping at a gate.

This is the reference for a firmware's own loop: every decision is an integer comparison, and what crosses to the next
core is requantised once. It needs numpy and the interpreters; PyTorch only where gated layers run by kernels.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gatesearch.compile.tflite import channel_first, channel_last
from gatesearch.errors import UserError
from gatesearch.runtime.program import Program, TensorSpec

Array = npt.NDArray[Any]
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a bundle says of one window.

    Args:
        label: index of the class; for a stopped window the answer of its gate; None where the output is no class.
        exit: index of the gate at which it left, or the number of gates.
        logits: what the last stage or the gate's exit gave, [*output], channels first; of class logits those far below
            the winner are raised to a common floor. None where nothing was computed for a window that left.
        gate_logits: the logit of each gate that was reached, as the artifact gives it: an integer where it is int8.
    """

    label: int | None
    exit: int
    logits: npt.NDArray[np.float32] | None
    gate_logits: tuple[float, ...]


class Cascade:
    """Stages with gates between, run one after the other until a window leaves.

    Args:
        programs: a stage each.
        exits: for each gate what a window runs that leaves there; None where its answer is constant.
        thresholds: of the gates, as the programs give their logits.
        answers: of the gates, classes.
        unsure: class of a window in which no class rises above the floor.
        logit_offset: the floor of the last program's class logits.
    """

    def __init__(
        self,
        programs: Sequence[Program | PartsProgram],
        exits: Sequence[Program | None] = (),
        thresholds: Sequence[float] = (),
        answers: Sequence[int] = (),
        unsure: int = 0,
        logit_offset: float = 0.0,
    ) -> None:
        self.programs, self.exits, self.thresholds = list(programs), list(exits), list(thresholds)
        self.answers, self.unsure, self.logit_offset = list(answers), unsure, logit_offset

    def run(self, hidden: Array, first: int = 0, before: Sequence[float] = ()) -> Answer:
        """Run one window until it leaves at a gate or the last stage answers.

        Args:
            hidden: input of stage ``first``, in the type and shape of its program.
            first: the stage to begin with.
            before: logits of the gates before it.
        """
        seen = list(before)
        for k, threshold in list(enumerate(self.thresholds))[first:]:
            passed, logit = self.programs[k](hidden)
            value = logit.flat[0].item()
            seen.append(value)
            if value <= threshold:
                return self._leave(passed, k, tuple(seen))
            hidden = requantise(passed, self.programs[k].outputs[0], self.programs[k + 1].inputs[0])
        output = _output(self.programs[-1], hidden)
        if self.logit_offset:
            output += np.float32(self.logit_offset)
        return Answer(self._label(output), len(self.thresholds), output, tuple(seen))

    def _leave(self, passed: Array, k: int, seen: tuple[float, ...]) -> Answer:
        light = self.exits[k]
        if light is None:
            return Answer(self.answers[k], k, None, seen)
        output = _output(light, requantise(passed, self.programs[k].outputs[0], light.inputs[0]))
        return Answer(self._label(output), k, output, seen)

    def _label(self, output: Array) -> int | None:
        if output.ndim != 1:
            return None
        largest = int(output.argmax())
        # Where no class rises above the floor, nothing is reported: the same as a stopped window.
        return largest if output[largest] > self.logit_offset else self.unsure


class Bundle(Cascade):
    """A bundle on disk, checked and loaded.

    Args:
        folder: holds ``manifest.json`` and what it names.
        engines: interpreter for each core by name; where a core is not named, the one that the manifest gives it.

    Raises:
        UserError: no bundle, a file missing, or one whose sha256 is not the manifest's.
    """

    def __init__(self, folder: Path, engines: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.manifest = load_manifest(folder)
        self.classes: tuple[str, ...] = tuple(self.manifest["classes"])
        stages = self.manifest["stages"]
        ends = [(stage["core"], stage["engine"], (stage["gate"] or {}).get("exit")) for stage in stages[:-1]]
        positive: list[bool] = self.manifest["positive"]
        super().__init__(
            [self._stage(stage, (engines or {}).get(stage["core"], stage["engine"])) for stage in stages],
            [
                None if end is None else Program(checked(folder, end["program"]), (engines or {}).get(core, engine))
                for core, engine, end in ends
            ],
            [stage["gate"]["theta_integer"] for stage in stages[:-1]],
            [stage["gate"]["answer"] for stage in stages[:-1]],
            positive.index(False) if False in positive else 0,
            stages[-1]["logit_offset"],
        )

    def _stage(self, stage: dict[str, Any], engine: str) -> Program | PartsProgram:
        reference = checked(self.folder, stage["program"])
        if not stage.get("parts") or engine != "litert":
            return Program(reference, engine)
        from gatesearch.kernels import native  # brings PyTorch, which bundles of programs alone need not have

        library = native.load()  # says on standard error where there is no compiler
        if library is None:
            return Program(reference, engine)
        return PartsProgram(stage["parts"], [checked(self.folder, part["program"]) for part in stage["parts"]], library)

    def quantise(self, features: Array) -> Array:
        """Turn float features [*shape] or [1, *shape], channels first, into the first stage's input."""
        first = self.programs[0].inputs[0]
        batch = features[None] if features.ndim < len(first.shape) else features
        return first.quantise(channel_last(batch))

    def __call__(self, features: Array) -> Answer:
        """Run one window of float features [*shape], channels first."""
        return self.run(self.quantise(features))


class PartsProgram:
    """A stage in parts, LiteRT programs and kernels in turn, with the interface of a :class:`Program`.

    What one part writes, the next one reads in place; a value is copied only where two programs have it, or where it is
    read again later.

    Args:
        parts: as the manifest has them.
        blobs: a file for each part.
        library: the kernels.
    """

    engine = "litert and kernels"

    def __init__(self, parts: Sequence[Mapping[str, Any]], blobs: Sequence[bytes], library: Any) -> None:
        from gatesearch.kernels import layer_kernel

        made: list[Any] = [
            Program(blob)
            if part["kernel"] is None
            else layer_kernel(part["kernel"], "bundle").layer.load(_arrays(blob), library)
            for part, blob in zip(parts, blobs, strict=True)
        ]
        memory = [one.memory() if isinstance(one, Program) else None for one in made]
        self._kept, self._steps = made, list[Callable[[], object]]()
        values = self._values = dict[str, Array]()
        # A value lives where the program that makes it writes it, or else where the first one that reads it wants it.
        by_programs = {name for part, own in zip(parts, memory, strict=True) if own for name in part["outputs"]}
        for part, own in zip(parts, memory, strict=True):
            if own:
                values.update(zip(part["outputs"], own[1], strict=True))
                for name, view in zip(part["inputs"], own[0], strict=True):
                    if name not in by_programs:
                        values.setdefault(name, view)
        for part, one, own in zip(parts, made, memory, strict=True):
            if own:
                for name, view in zip(part["inputs"], own[0], strict=True):
                    if values[name] is not view:
                        self._steps.append(partial(np.copyto, view, values[name]))
                self._steps.append(one.invoke)
                continue
            [given], [written] = part["inputs"], part["outputs"]
            x = values.setdefault(given, np.zeros(part["reads"], np.float32))
            y = values.setdefault(written, np.zeros((1, *one.shape), np.float32))
            active = None if part["source"] is None else made[part["source"]].active
            self._steps += one.bind(x[0], y[0], active, part["whole"])
        last = made[-1]
        self.inputs = (TensorSpec("input", values["input"].shape, np.dtype(np.float32), 0.0, 0),)
        self.outputs = last.outputs
        self._outputs = last.memory()[1]
        self._input = values["input"]

    def __call__(self, x: Array) -> tuple[Array, ...]:
        """Run one window; see :meth:`Program.__call__`."""
        if x.shape != self._input.shape or x.dtype != np.float32:
            raise ValueError(f"input must be float32 {list(self._input.shape)}, found {x.dtype} {list(x.shape)}")
        np.copyto(self._input, x)
        self.invoke()
        return tuple(view.copy() for view in self._outputs)

    def invoke(self) -> None:
        """Run the parts alone on the last input: what is timed."""
        for step in self._steps:
            step()


def _arrays(blob: bytes) -> dict[str, Array]:
    with np.load(io.BytesIO(blob), allow_pickle=False) as packed:
        return {name: packed[name] for name in packed.files}


def _output(program: Program | PartsProgram, hidden: Array) -> npt.NDArray[np.float32]:
    """Run the last program of a window; its output in float without the batch, channels first."""
    values: npt.NDArray[np.float32] = channel_first(program.outputs[0].dequantise(program(hidden)[0]))[0]
    return values


def requantise(values: Array, source: TensorSpec, target: TensorSpec) -> Array:
    """Take integers from one stage's output scale to the next one's input scale."""
    # Calibrated on the same values, the scales differ by float rounding at most: no integer would change.
    if source.zero_point == target.zero_point and math.isclose(source.scale, target.scale, rel_tol=1e-5):
        return values
    return target.quantise(source.dequantise(values))


class _Part(BaseModel):
    """What a manifest must say for a bundle to run; it says more."""

    model_config = ConfigDict(extra="allow")


class _Program(_Part):
    path: str
    sha256: str


class _Exit(_Part):
    program: _Program
    artifacts: list[_Program]


class _StagePart(_Part):
    program: _Program
    kernel: str | None
    inputs: Annotated[list[str], Field(min_length=1)]
    outputs: Annotated[list[str], Field(min_length=1)]
    source: int | None
    whole: bool


class _Gate(_Part):
    theta: float
    theta_integer: float
    answer: int
    exit: _Exit | None = None


class _Stage(_Part):
    core: str
    engine: Literal["litert", "reference", "tflm"]
    program: _Program
    parts: list[_StagePart] = []
    artifacts: list[_Program]
    logit_offset: float
    gate: _Gate | None


class _Manifest(_Part):
    bundle: Literal[1]
    classes: Annotated[list[str], Field(min_length=1)]
    stages: Annotated[list[_Stage], Field(min_length=1)]

    @model_validator(mode="after")
    def _gates_stand_between(self) -> _Manifest:
        for k, stage in enumerate(self.stages):
            if (stage.gate is None) != (k + 1 == len(self.stages)):
                raise ValueError(f"stage {k} of {len(self.stages)} has {'no' if stage.gate is None else 'a'} gate")
            if stage.gate is not None and not 0 <= stage.gate.answer < len(self.classes):
                raise ValueError(f"stage {k} answers {stage.gate.answer}; there are {len(self.classes)} classes")
        return self


def load_manifest(folder: Path) -> dict[str, Any]:
    """Read ``manifest.json``.

    Raises:
        UserError: it is missing or no manifest.
    """
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _Manifest.model_validate(manifest)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; a bundle is a folder with a {MANIFEST}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: {where + ': ' if where else ''}{first['msg']}; export again") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from None
    return manifest


def checked(folder: Path, artifact: dict[str, Any]) -> bytes:
    """Return an artifact's bytes.

    Raises:
        UserError: it is missing, lies outside the bundle, or its sha256 is not what the manifest says.
    """
    path = folder / artifact["path"]
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{folder / MANIFEST}: {artifact['path']!r} lies outside the bundle")
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; the bundle is incomplete") from None
    digest = hashlib.sha256(blob).hexdigest()
    if digest != artifact["sha256"]:
        raise UserError(f"{path}: sha256 {digest[:12]} is not the manifest's {artifact['sha256'][:12]}; export again")
    return blob
