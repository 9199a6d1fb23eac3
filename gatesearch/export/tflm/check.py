"""Checks the folder of later cores for TensorFlow Lite Micro (TFLM) against its bundle."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from gatesearch.errors import UserError
from gatesearch.export.source_folder import SUMS, find_changed, read_sums
from gatesearch.export.tflm.project import INDEX
from gatesearch.export.tflm.source import read_model
from gatesearch.runtime.manifest import load_manifest, read_artifact

AGAIN = "write it again: gatesearch export RUN target=tflm"


def check_tflm(folder: Path, bundle: Path) -> str:
    """Compare a folder with the bundle from which it was made, and return one line that says what was compared.

    No file of the folder may differ from what was written. The C array of each model has to be the bundle's file, and
    the array of an NPU has to be compiled from the bundle's file.

    Raises:
        UserError: something differs; the message names the first such file.
    """
    sums = read_sums(folder)
    if not sums:
        raise UserError(f"tflm: {folder / SUMS}: no such file, or an empty one; {AGAIN}")
    changed = find_changed(folder, sums)
    if changed is not None:
        raise UserError(f"tflm: {changed} is not what was written; {AGAIN}")
    manifest = load_manifest(bundle)
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        digest, programs = index["digest"], index["programs"]
        if digest != manifest["digest"]:
            raise UserError(f"tflm: {folder} is of plan {digest}, the bundle of plan {manifest['digest']}; {AGAIN}")
        compiled = [_check_program(folder, bundle, program) for program in programs]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"tflm: {folder / INDEX}: {error}; {AGAIN}") from None
    text = f"tflm: {folder}: {len(compiled)} models, {len(compiled) - sum(compiled)} equal to files of the bundle"
    return text + (f", {sum(compiled)} compiled from them by Vela and not run" if any(compiled) else "")


def _check_program(folder: Path, bundle: Path, program: dict[str, object]) -> bool:
    """Compare a model with the bundle; return whether it is compiled for an NPU."""
    path = folder / "models" / f"{program['name']}.cc"
    source = program["source"]
    assert isinstance(source, dict)
    try:
        model = read_model(path.read_text(encoding="utf-8"))
        original = read_artifact(bundle, source)
    except UserError as error:
        raise UserError(f"tflm: {path}: {error}; {AGAIN}") from None
    if hashlib.sha256(model).hexdigest() != program["sha256"] or (not program["npu"] and model != original):
        raise UserError(f"tflm: {path} is not {source['path']} of the bundle; {AGAIN}")
    return bool(program["npu"])
