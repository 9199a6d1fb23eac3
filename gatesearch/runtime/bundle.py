"""A bundle on disk, checked, loaded and run window by window on this host.

It needs numpy and the interpreters; PyTorch only where gated layers run by kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatesearch.compile.tflite import channel_last
from gatesearch.runtime.cascade import Answer, Array, Cascade, Runnable
from gatesearch.runtime.manifest import load_manifest, read_artifact
from gatesearch.runtime.parts_program import PartsProgram
from gatesearch.runtime.program import Program


class Bundle(Cascade):
    """The stages of a bundle with their gates.

    Args:
        folder: holds ``manifest.json`` and what it names.
        engines: interpreter for each core by name; where a core is not named, the one that the manifest gives it.

    Raises:
        UserError: no bundle, a file missing, or one whose sha256 is not the manifest's.
    """

    def __init__(self, folder: Path, engines: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.manifest = load_manifest(folder)
        self.classes: tuple[str, ...] = tuple(self.manifest["classes"])
        self._engines = engines or {}
        stages, positive = self.manifest["stages"], self.manifest["positive"]
        gates = [stage["gate"] for stage in stages[:-1]]
        super().__init__(
            programs=[self._stage(stage) for stage in stages],
            exits=[self._exit(stage) for stage in stages[:-1]],
            thresholds=[gate["theta_integer"] for gate in gates],
            answers=[gate["answer"] for gate in gates],
            unsure=positive.index(False) if False in positive else 0,
            logit_offset=stages[-1]["logit_offset"],
        )

    def _engine(self, stage: Mapping[str, Any]) -> str:
        return self._engines.get(stage["core"], stage["engine"])

    def _stage(self, stage: Mapping[str, Any]) -> Runnable:
        engine, parts = self._engine(stage), stage.get("parts")
        reference = read_artifact(self.folder, stage["program"])
        if not parts or engine != "litert":
            return Program(reference, engine)
        from gatesearch.kernels import native  # brings PyTorch, which bundles of programs alone need not have

        library = native.load()  # says on standard error where there is no compiler
        if library is None:
            return Program(reference, engine)
        return PartsProgram(parts, [read_artifact(self.folder, part["program"]) for part in parts], library)

    def _exit(self, stage: Mapping[str, Any]) -> Runnable | None:
        entry = stage["gate"].get("exit")
        return None if entry is None else Program(read_artifact(self.folder, entry["program"]), self._engine(stage))

    def quantise(self, features: Array) -> Array:
        """Turn float features [*shape] or [1, *shape], channels first, into the first stage's input."""
        first = self.programs[0].inputs[0]
        batch = features[None] if features.ndim < len(first.shape) else features
        return first.quantise(channel_last(batch))

    def __call__(self, features: Array) -> Answer:
        """Run one window of float features [*shape], channels first."""
        return self.run(self.quantise(features))
