"""Checks the test vectors of a bundle: decides them again, and compares with the stored decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gatesearch.errors import UserError
from gatesearch.export.artifact_checks import ArtifactCheck
from gatesearch.export.vectors.files import VECTORS, list_files, read_vectors
from gatesearch.export.vectors.hops import open_vectors, trace_hops
from gatesearch.export.vectors.source import Vectors
from gatesearch.export.vectors.windows import decide_windows
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.manifest import load_manifest

FLOAT_TOLERANCE = 1e-4  # for float outputs: libraries sum in other orders


def check_vectors(folder: Path) -> tuple[ArtifactCheck, ...]:
    """Return the check of the test vectors of a bundle; none for a bundle without vectors."""
    manifest = load_manifest(folder)
    if manifest.get(VECTORS) is None:
        return ()
    path = manifest[VECTORS]["decisions"]["path"]
    try:
        problem = _find_difference(folder, read_vectors(folder, manifest))
    except UserError as error:
        problem = str(error).removesuffix("; export again")
    return tuple(
        ArtifactCheck(entry["path"], VECTORS, "run", problem if entry["path"] == path else "")
        for entry in list_files(manifest)
    )


def _find_difference(folder: Path, stored: Vectors) -> str:
    """Return one line that names the first decision that differs; empty if none does."""
    if stored.kind == "hops":
        again = trace_hops(open_vectors(folder), stored.inputs)
        if not np.array_equal(again.features, stored.features):
            return "the features of the sound are not the stored ones"
        decisions = again.decisions
    else:
        engines = dict(zip(_cores(folder), stored.engines, strict=True))
        decisions = decide_windows(Bundle(folder, engines), stored.features)
    if len(decisions) != len(stored.decisions):
        return f"there are {len(stored.decisions)} decisions for {len(decisions)} {stored.kind}"
    for index, (decision, expected) in enumerate(zip(decisions, stored.decisions, strict=True)):
        if not _equal(decision, expected):
            return f"decision {index} is {decision}, the stored one {expected}"
    return ""


def _cores(folder: Path) -> list[str]:
    return [stage["core"] for stage in load_manifest(folder)["stages"]]


def _equal(value: Any, expected: Any) -> bool:
    """Compare JSON values; numbers with a point may differ by rounding errors."""
    if isinstance(expected, dict):
        return (
            isinstance(value, dict)
            and value.keys() == expected.keys()
            and _equal(list(value.values()), [expected[key] for key in value])
        )
    if isinstance(expected, list):
        return isinstance(value, list) and len(value) == len(expected) and all(map(_equal, value, expected))
    if isinstance(expected, float) and isinstance(value, float):
        return bool(np.isclose(value, expected, rtol=FLOAT_TOLERANCE, atol=FLOAT_TOLERANCE))
    return bool(value == expected)
