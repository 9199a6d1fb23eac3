"""Reads and checks the manifest of a bundle, and reads the files that it names."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    model_validator,
)

from gatesearch.errors import UserError

MANIFEST = "manifest.json"


class _Entry(BaseModel):
    """An object of the manifest; only fields that a bundle needs to run are checked, and others are allowed."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Artifact(_Entry):
    path: Annotated[str, Field(min_length=1)]
    sha256: str
    format: str = "tflite"


class _Exit(_Entry):
    program: _Artifact
    artifacts: list[_Artifact]


class _Part(_Entry):
    program: _Artifact
    kernel: str | None
    inputs: Annotated[list[str], Field(min_length=1)]
    outputs: Annotated[list[str], Field(min_length=1)]
    source: Annotated[int, Field(ge=0)] | None
    whole: bool
    reads: list[Annotated[int, Field(gt=0)]] = []


class _Gate(_Entry):
    theta: FiniteFloat
    theta_integer: FiniteFloat
    answer: int
    exit: _Exit | None = None


class _HopStage(_Entry):
    step: _Artifact
    catch_up: _Artifact
    axis: Annotated[int, Field(gt=0)]
    window: Annotated[int, Field(gt=0)]
    fresh: Annotated[int, Field(gt=0)]


class _Hops(_Entry):
    window: Annotated[int, Field(gt=0)]
    hop: Annotated[int, Field(gt=0)]
    phases: Annotated[int, Field(gt=0)]


class _Stage(_Entry):
    core: str
    engine: Literal["litert", "reference", "tflm"]
    program: _Artifact
    parts: list[_Part] = []
    kernel_parts: list[_Part] = []
    artifacts: list[_Artifact]
    logit_offset: FiniteFloat
    arithmetic: Literal["int8", "float32"] = "int8"
    gate: _Gate | None
    hops: _HopStage | None = None


class _Manifest(_Entry):
    bundle: Literal[1]
    digest: str
    plan: dict[str, Any]
    classes: Annotated[list[str], Field(min_length=1)]
    positive: Annotated[list[bool], Field(min_length=1)]
    stages: Annotated[list[_Stage], Field(min_length=1)]
    hops: _Hops | None = None

    @model_validator(mode="after")
    def _check_gates(self) -> _Manifest:
        for k, stage in enumerate(self.stages):
            if (stage.gate is None) != (k + 1 == len(self.stages)):
                raise ValueError(f"stage {k} of {len(self.stages)} has {'no' if stage.gate is None else 'a'} gate")
            if stage.gate is not None and not 0 <= stage.gate.answer < len(self.classes):
                raise ValueError(f"stage {k} answers {stage.gate.answer}; there are {len(self.classes)} classes")
        if len(self.positive) != len(self.classes):
            raise ValueError(f"positive has {len(self.positive)} entries; there are {len(self.classes)} classes")
        return self


def load_manifest(folder: Path) -> dict[str, Any]:
    """Read the ``manifest.json`` of a bundle.

    Raises:
        UserError: the file is missing or is not a valid manifest.
    """
    path = folder / MANIFEST
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: is no file; export again")  # reading a named pipe would block for ever
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _Manifest.model_validate(manifest)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; a bundle is a folder with a {MANIFEST}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    except ValidationError as error:
        first_error = error.errors()[0]
        field = ".".join(map(str, first_error["loc"]))
        raise UserError(f"{path}: {field + ': ' if field else ''}{first_error['msg']}; export again") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON: {error}; export again") from None
    return manifest


def read_artifact(folder: Path, artifact: Mapping[str, Any]) -> bytes:
    """Return the bytes of an artifact that a manifest names.

    A file may be a symbolic link, as in the caches of model hubs, because the sha256 of its content is checked.

    Raises:
        UserError: the file is missing, its path leaves the bundle, or its sha256 is not what the manifest says.
    """
    name = str(artifact["path"])
    # Behind a folder that is a link, ".." leads to the folder above the link's target, so no path may have it.
    if os.path.isabs(name) or ".." in name.replace("\\", "/").split("/") or "\0" in name:
        raise UserError(f"{folder / MANIFEST}: {name!r} lies outside the bundle")
    path = folder / name
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: is no file; export again")
        blob = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; the bundle is incomplete") from None
    digest = hashlib.sha256(blob).hexdigest()
    if digest != artifact["sha256"]:
        raise UserError(f"{path}: sha256 {digest[:12]} is not the manifest's {artifact['sha256'][:12]}; export again")
    return blob
