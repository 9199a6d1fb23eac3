"""Kits: folders of C sources that a user builds and runs on a board, to time kernels there."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gatesearch._lib.files import write_whole
from gatesearch.cost.sources.board.rows import FORMAT, rows_header
from gatesearch.cost.sources.board.runner_output import RunnerOutput
from gatesearch.cost.sources.board.shapes import EMPTY_CALL
from gatesearch.cost.sources.board.table import Reading, call_to_dict
from gatesearch.errors import UserError
from gatesearch.gates import KernelCall
from gatesearch.kernels import counted_kernels
from gatesearch.kernels.library import SOURCES
from gatesearch.kernels.registry import outside_sources

RUNNER = Path(__file__).parent / "runner"
MANIFEST = "manifest.json"


def write(folder: Path, calls: Sequence[KernelCall], others: Sequence[KernelCall] = ()) -> dict[str, Any]:
    """Write a kit that times ``calls`` and the held-out ``others``; return its manifest.

    Raises:
        UserError: the folder exists and holds something else.
    """
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / MANIFEST).is_file())):
        raise UserError(f"kit={folder}: exists already and is not a kit")
    for name, paths in (("kernels", sorted(SOURCES.glob("*.[ch]"))), ("outside", outside_sources())):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for path in paths:
            shutil.copy(path, folder / name / path.name)
    for path in sorted(RUNNER.iterdir()):
        if path.is_file():
            shutil.copy(path, folder / path.name)
    listed = list(dict.fromkeys([*calls, *others]))
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "sources": sources(),
        "held_out": len(list(dict.fromkeys(calls))),
        "calls": [call_to_dict(call) for call in listed],
    }
    manifest["kit"] = digest(manifest)
    write_whole(folder / MANIFEST, json.dumps(manifest, indent=1))
    write_whole(folder / "rows.h", rows_header(manifest["kit"], listed))
    return manifest


def sources() -> str:
    """Return a digest of the kernels and of the runner."""
    paths = [*sorted(SOURCES.glob("*.[ch]")), *outside_sources(), *sorted(RUNNER.glob("*.[ch]"))]
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in paths)).hexdigest()[:16]


def digest(manifest: Mapping[str, Any]) -> str:
    """Return a kit's digest, over its calls and its sources."""
    values = {key: manifest[key] for key in ("format", "sources", "held_out", "calls")}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def readings(manifest: Mapping[str, Any], output: RunnerOutput) -> tuple[tuple[Reading, ...], tuple[Reading, ...]]:
    """Return the readings of a table and the held-out readings; the time of reading the clock is subtracted."""
    empty = output.rows[0].shortest
    by_index = {}
    for index, call in enumerate(manifest["calls"]):
        if index in output.rows and call["kernel"] != EMPTY_CALL.kernel:
            row = output.rows[index]
            observed = {name: row.open_share for name in counted_kernels()[call["kernel"]].observed}
            shortest, median = (round(max(0.0, value - empty), 3) for value in (row.shortest, row.median))
            by_index[index] = Reading(
                **{**call, "left": {**call["left"], **observed}},
                shortest=shortest,
                median=median if median != shortest else None,
            )
    first_other = manifest["held_out"]
    readings = tuple(reading for index, reading in by_index.items() if index < first_other)
    return readings, tuple(reading for index, reading in by_index.items() if index >= first_other)
