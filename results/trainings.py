"""Results of trainings, one file a row and seed, as benchmarks that train row by row keep them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Results = Mapping[str, Sequence[Mapping[str, Any]]]


def read_rows(folder: Path) -> dict[str, list[Mapping[str, Any]]]:
    """Return the results of a folder, ``*/result.json``, by row, in the order of seeds."""
    results = [json.loads(path.read_text()) for path in folder.glob("*/result.json")]
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for result in sorted(results, key=lambda result: result["seed"]):
        rows.setdefault(result["row"], []).append(result)
    return rows


def read_protocols(runs: Path, protocols: Iterable[str], current: str) -> dict[str, Results]:
    """Return the results of each protocol; one without any only where it is the current one."""
    results = {protocol: read_rows(runs / protocol) for protocol in protocols if (runs / protocol).exists()}
    return {protocol: rows for protocol, rows in results.items() if rows or protocol == current}
