"""The host loop that runs a bundle: stage by stage, stopping at a gate.

This is the reference for a firmware's own loop: every decision is an integer comparison, and what crosses to the next
core is requantised once. It needs numpy and the interpreters, not PyTorch.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gatesearch.errors import UserError
from gatesearch.hardware.tflite import Program, TensorSpec, channel_last

Array = npt.NDArray[Any]
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a bundle says of one window.

    Args:
        label: index of the class; for a stopped window the answer of its gate.
        exit: index of the gate that stopped it, or the number of gates.
        logits: class logits [classes], None for a stopped window.
        gate_logits: the integer logit of each gate that was reached.
    """

    label: int
    exit: int
    logits: npt.NDArray[np.float32] | None
    gate_logits: tuple[int, ...]


class Bundle:
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
        self.programs = [
            Program(checked(folder, stage["program"]), (engines or {}).get(stage["core"], stage["engine"]))
            for stage in stages
        ]
        self.thresholds: list[int] = [stage["gate"]["theta_integer"] for stage in stages[:-1]]
        self.answers: list[int] = [stage["gate"]["answer"] for stage in stages[:-1]]

    def quantise(self, features: Array) -> Array:
        """Turn float features [*shape] or [1, *shape], channels first, into the first stage's integer input."""
        first = self.programs[0].inputs[0]
        batch = features[None] if features.ndim < len(first.shape) else features
        return first.quantise(channel_last(batch))

    def run(self, hidden: Array) -> Answer:
        """Run one window from :meth:`quantise` until a gate stops it or the last stage answers."""
        seen: list[int] = []
        for k, threshold in enumerate(self.thresholds):
            passed, logit = self.programs[k](hidden)
            value = int(logit.flat[0])
            seen.append(value)
            if value <= threshold:
                return Answer(self.answers[k], k, None, tuple(seen))
            hidden = requantise(passed, self.programs[k].outputs[0], self.programs[k + 1].inputs[0])
        last = self.programs[-1]
        logits = last.outputs[0].dequantise(last(hidden)[0])[0]
        return Answer(int(logits.argmax()), len(self.thresholds), logits, tuple(seen))

    def __call__(self, features: Array) -> Answer:
        """Run one window of float features [*shape], channels first."""
        return self.run(self.quantise(features))


def requantise(values: Array, source: TensorSpec, target: TensorSpec) -> Array:
    """Take integers from one stage's output scale to the next one's input scale."""
    if (source.scale, source.zero_point) == (target.scale, target.zero_point):
        return values
    return target.quantise(source.dequantise(values))


def load_manifest(folder: Path) -> dict[str, Any]:
    """Read ``manifest.json``.

    Raises:
        UserError: it is missing or no manifest.
    """
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; a bundle is a folder with a {MANIFEST}") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from None
    if manifest.get("bundle") != 1:
        raise UserError(f"{path}: bundle version {manifest.get('bundle')!r} is not 1")
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
