"""Checks that the files of a run match their schemas."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from gatesearch.cli.documents.schemas import find_model

WRITTEN: Mapping[str, str] = {
    "plan": "best/plan.json",
    "summary": "summary.json",
    "manifest": "best/bundle/manifest.json",
}


def check_document(name: str, path: Path) -> None:
    """Raise ValidationError if a file does not match; keys that the schema does not describe are errors."""
    find_model(name).model_validate(json.loads(path.read_text()))


def check_run(folder: Path) -> None:
    for name, path in WRITTEN.items():
        check_document(name, folder / path)
