"""The manifest of a bundle: what there must be in it for the bundle to run, and the files that it names."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gatesearch.errors import UserError

MANIFEST = "manifest.json"


class _Entry(BaseModel):
    """An object of the manifest with the fields that running a bundle needs; there may be more."""

    model_config = ConfigDict(extra="allow")


class _Artifact(_Entry):
    path: str
    sha256: str


class _Exit(_Entry):
    program: _Artifact
    artifacts: list[_Artifact]


class _Part(_Entry):
    program: _Artifact
    kernel: str | None
    inputs: Annotated[list[str], Field(min_length=1)]
    outputs: Annotated[list[str], Field(min_length=1)]
    source: int | None
    whole: bool


class _Gate(_Entry):
    theta: float
    theta_integer: float
    answer: int
    exit: _Exit | None = None


class _Stage(_Entry):
    core: str
    engine: Literal["litert", "reference", "tflm"]
    program: _Artifact
    parts: list[_Part] = []
    artifacts: list[_Artifact]
    logit_offset: float
    gate: _Gate | None


class _Manifest(_Entry):
    bundle: Literal[1]
    classes: Annotated[list[str], Field(min_length=1)]
    stages: Annotated[list[_Stage], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_gates(self) -> _Manifest:
        for k, stage in enumerate(self.stages):
            if (stage.gate is None) != (k + 1 == len(self.stages)):
                raise ValueError(f"stage {k} of {len(self.stages)} has {'no' if stage.gate is None else 'a'} gate")
            if stage.gate is not None and not 0 <= stage.gate.answer < len(self.classes):
                raise ValueError(f"stage {k} answers {stage.gate.answer}; there are {len(self.classes)} classes")
        return self


def load_manifest(folder: Path) -> dict[str, Any]:
    """Read the ``manifest.json`` of a bundle.

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


def read_artifact(folder: Path, artifact: dict[str, Any]) -> bytes:
    """Return the bytes of an artifact that a manifest names.

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
