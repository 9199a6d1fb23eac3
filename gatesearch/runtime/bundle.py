"""Loads a bundle from its folder, checks it and runs it window by window on this host.

A bundle is the folder of a plan's programs with a manifest. This module needs NumPy and the interpreters. It needs
PyTorch only if kernels run gated layers.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from gatesearch._lib.tool_output import ToolError
from gatesearch.compile.tflite import channel_first, channel_last
from gatesearch.errors import DataError, UserError, first_line, quote
from gatesearch.runtime.cascade import Answer, Array, Cascade, Runnable, unsure_class
from gatesearch.runtime.manifest import MANIFEST, load_manifest, read_artifact
from gatesearch.runtime.program import Program


@dataclass(frozen=True, slots=True)
class HopPrograms:
    """The two programs of a stage that runs hop by hop.

    Args:
        step: program of a hop, from (fresh frames, *state) to (outputs..., *state).
        catch_up: program of a whole window, from the window to (outputs..., *state).
        axis: the time axis of the input.
        window: number of frames in a whole window.
        fresh: number of frames that a step takes.
    """

    step: Program
    catch_up: Program
    axis: int
    window: int
    fresh: int


class Bundle(Cascade):
    """The stages of a bundle with their gates.

    Args:
        folder: the folder with ``manifest.json`` and the files that it names.
        engines: the interpreter of cores, by the core's name; each other core uses the engine that the manifest names.

    Raises:
        UserError: the folder holds no bundle; a file is missing or its sha256 is not the manifest's; an engine does not
            run its program; or the stages do not fit each other.
    """

    def __init__(self, folder: Path | str, engines: Mapping[str, str] | None = None) -> None:
        if not isinstance(folder, str | Path):
            raise UserError(f"bundle: {quote(folder)} is not the path of a folder")
        self._engines = _check_engines(engines)
        self._by_hops: list[HopPrograms | None] | None = None
        self.folder = Path(folder)
        self.manifest = load_manifest(self.folder)
        self.classes: tuple[str, ...] = tuple(self.manifest["classes"])
        stages, positive = self.manifest["stages"], self.manifest["positive"]
        gates = [stage["gate"] for stage in stages[:-1]]
        super().__init__(
            programs=[self._stage(stage) for stage in stages],
            exits=[self._exit(stage) for stage in stages[:-1]],
            thresholds=[gate["theta_integer"] for gate in gates],
            answers=[gate["answer"] for gate in gates],
            unsure=unsure_class(positive),
            logit_offset=stages[-1]["logit_offset"],
        )
        self._check_fit()

    def _engine(self, stage: Mapping[str, Any]) -> str:
        return self._engines.get(stage["core"], stage["engine"])

    def _stage(self, stage: Mapping[str, Any]) -> Runnable:
        """Return the runner of one stage: parts with native kernels if this host can run them, or else one program."""
        engine, parts = self._engine(stage), stage.get("parts") or stage.get("kernel_parts")
        reference = read_artifact(self.folder, stage["program"])
        if not parts or engine != "litert":
            return self._program(stage["program"], reference, engine)
        # Both import PyTorch, which bundles without kernels do not need.
        from gatesearch.kernels import native
        from gatesearch.runtime.byte_parts_program import load_parts

        library = native.load()  # prints a line to standard error if there is no compiler
        if library is None:
            return self._program(stage["program"], reference, engine)
        blobs = [read_artifact(self.folder, part["program"]) for part in parts]
        try:
            return load_parts(parts, blobs, library)
        except (LookupError, TypeError, ValueError, AttributeError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{self.folder / MANIFEST}: the parts of the stage on {stage['core']} do not fit each other "
                f"({type(error).__name__}: {error}); export again"
            ) from error

    def _exit(self, stage: Mapping[str, Any]) -> Runnable | None:
        entry = stage["gate"].get("exit")
        if entry is None:
            return None
        return self._program(entry["program"], read_artifact(self.folder, entry["program"]), self._engine(stage))

    def _program(self, artifact: Mapping[str, Any], model: bytes, engine: str) -> Program:
        try:
            return Program(model, engine)
        except (ToolError, LookupError, ValueError) as error:
            reason = first_line(error)
            raise UserError(f"{self.folder / artifact['path']}: {engine} does not run it: {reason}") from error

    def hop_programs(self) -> list[HopPrograms | None]:
        """Load the hop programs of each stage, once; None for a stage that runs its one program on each window.

        The caller holds the state of each stream, so that several streams can share the programs.

        Raises:
            UserError: a file is missing, or its sha256 is not the manifest's; or an engine cannot run its program.
        """
        if self._by_hops is None:
            self._by_hops = [self._hop_programs(stage) for stage in self.manifest["stages"]]
        return self._by_hops

    def _hop_programs(self, stage: Mapping[str, Any]) -> HopPrograms | None:
        entry = stage.get("hops")
        if entry is None:
            return None
        step, catch_up = (
            self._program(entry[name], read_artifact(self.folder, entry[name]), self._engine(stage))
            for name in ("step", "catch_up")
        )
        return HopPrograms(
            step=step, catch_up=catch_up, axis=entry["axis"], window=entry["window"], fresh=entry["fresh"]
        )

    def _check_fit(self) -> None:
        """Refuse stages whose tensors do not fit each other, their gates or the classes."""
        where = self.folder / MANIFEST
        for k, (program, target) in enumerate(pairwise([*self.programs, None])):
            outputs = [spec.shape for spec in program.outputs] if program is not None else []
            if len(outputs) != (1 if target is None else 2):
                raise UserError(f"{where}: the program of stage {k} has {len(outputs)} outputs; export again")
            if target is not None and outputs[0] != target.inputs[0].shape:
                raise UserError(
                    f"{where}: stage {k} gives {list(outputs[0])}, stage {k + 1} takes "
                    f"{list(target.inputs[0].shape)}; export again"
                )
        answers = [exit.outputs[0].shape for exit in self.exits if exit is not None]
        for shape in (self.programs[-1].outputs[0].shape, *answers):
            if len(shape) == 2 and shape[1] > len(self.classes):
                raise UserError(f"{where}: there are {len(self.classes)} classes for {shape[1]} outputs; export again")

    def quantise(self, features: Array) -> Array:
        """Convert float features [*shape] or [1, *shape], channels first, to the first stage's input.

        Raises:
            DataError: the features are no NumPy array of numbers, have another shape, or hold a value that is not
                finite.
        """
        first = self.programs[0].inputs[0]
        if not isinstance(features, np.ndarray) or features.dtype.kind not in "fiu":
            kind = f"of {features.dtype}" if isinstance(features, np.ndarray) else f"a {type(features).__name__}"
            raise DataError(f"window: {kind}; wanted: float features as a numpy array")
        window = channel_last(features[None] if features.ndim < len(first.shape) else features)
        if window.shape != first.shape:
            window_shape = list(channel_first(np.empty(first.shape)).shape[1:])
            raise DataError(f"window: {list(features.shape)}; the bundle takes {window_shape}, one window at a time")
        if not np.isfinite(window).all():
            raise DataError("window: holds a value that is not finite")
        return first.quantise(window)

    def __call__(self, features: Array) -> Answer:
        """Run one window of float features [*shape], channels first."""
        return self.run(self.quantise(features))


def _check_engines(engines: Mapping[str, str] | None) -> Mapping[str, str]:
    if engines is None:
        return {}
    if not isinstance(engines, Mapping) or not all(isinstance(engine, str) for engine in engines.values()):
        raise UserError(f"bundle: engines: {quote(engines)} does not map names of cores to names of engines")
    return engines
