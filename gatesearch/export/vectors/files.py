"""Writes test vectors into a bundle, and reads them: raw little-endian arrays, and decisions as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gatesearch._lib.files import write_whole
from gatesearch.errors import UserError
from gatesearch.export.vectors.engines import vector_engines
from gatesearch.export.vectors.hops import choose_stretch, open_vectors
from gatesearch.export.vectors.source import Array, Vectors, VectorSource
from gatesearch.export.vectors.windows import choose_windows
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.listener import DETECTOR
from gatesearch.runtime.manifest import MANIFEST, load_manifest, read_artifact

VECTORS = "vectors"
"""Entry of the manifest that names the test vectors, and their folder in the bundle."""


def write_vectors(folder: Path, source: VectorSource) -> dict[str, Any]:
    """Choose test vectors, write them into the folder of a bundle, and return their entry for its manifest.

    A bundle with a detector gets a stretch of the sound; any other bundle gets windows.
    """
    manifest = load_manifest(folder)
    if manifest.get(DETECTOR) is not None and source.sound is not None:
        vectors = choose_stretch(open_vectors(folder), source.sound)
    else:
        vectors = choose_windows(Bundle(folder, vector_engines(manifest, host=False)), source)
    lines = ",\n".join(json.dumps(each, allow_nan=False) for each in vectors.decisions)
    rows = None if vectors.rows is None else dict(zip(("window", "hop"), vectors.rows, strict=True))
    return {
        "kind": vectors.kind,
        "engines": list(vectors.engines),
        "inputs": _write_array(folder, "inputs", vectors.inputs),
        "features": _write_array(folder, "features", vectors.features),
        "rows": rows,
        "decisions": _write(folder, "decisions.json", f"[\n{lines}\n]\n".encode()),
    }


def read_vectors(folder: Path, manifest: Mapping[str, Any]) -> Vectors:
    """Return the test vectors that a manifest names.

    Raises:
        UserError: a file is missing or damaged, or is not what the manifest describes.
    """
    entry = manifest[VECTORS]
    try:
        rows = entry["rows"]
        return Vectors(
            kind=entry["kind"],
            engines=tuple(entry["engines"]),
            inputs=_read_array(folder, entry["inputs"]),
            features=_read_array(folder, entry["features"]),
            rows=None if rows is None else (rows["window"], rows["hop"]),
            decisions=json.loads(read_artifact(folder, entry["decisions"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder / MANIFEST}: {VECTORS}: {error}; export again") from None


def list_files(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of the files of test vectors; an empty list for a bundle without vectors."""
    entry = manifest.get(VECTORS)
    return [] if entry is None else [entry[name] for name in ("inputs", "features", "decisions")]


def _write_array(folder: Path, name: str, values: Array) -> dict[str, Any]:
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    entry = _write(folder, f"{name}.bin", little.tobytes())
    return {**entry, "dtype": str(values.dtype), "shape": list(values.shape)}


def _write(folder: Path, name: str, blob: bytes) -> dict[str, Any]:
    write_whole(folder / VECTORS / name, blob)
    return {"path": f"{VECTORS}/{name}", "bytes": len(blob), "sha256": hashlib.sha256(blob).hexdigest()}


def _read_array(folder: Path, entry: Mapping[str, Any]) -> Array:
    little = np.dtype(entry["dtype"]).newbyteorder("<")
    return np.frombuffer(read_artifact(folder, entry), little).astype(entry["dtype"]).reshape(entry["shape"])
