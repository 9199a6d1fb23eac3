"""Reads the records of finished runs, and says what two or more runs have in common and where they differ."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatesearch._lib.format import format_cell, format_percent, format_si
from gatesearch.errors import UserError
from gatesearch.report.fields import Record, read

PICKS = "picks"  # folder of a run with the plans that a user picked after the search
Row = tuple[str, ...]


@dataclass(frozen=True)
class FinishedRun:
    """A finished run, or a pick of one.

    Args:
        name: a letter that stands for the run in tables.
        path: the folder.
        summary, details: the content of summary.json and of record.json.
        origin: keys of the recipe, and digests of data and initial weights; empty for runs of older versions.
    """

    name: str
    path: Path
    summary: Record
    details: Record
    origin: Mapping[str, Any]

    @property
    def goal(self) -> str:
        """The goal of the run: classification, detection or reconstruction."""
        return str(self.summary["goal"])


def check_folder(path: Path) -> None:
    """Check that a folder belongs to a run or to a pick.

    Raises:
        UserError: it does not exist, or holds neither.
    """
    if not path.is_dir():
        raise UserError(f"{path}: no such run folder")
    if not ((path / "recipe.yaml").is_file() or path.parent.name == PICKS):
        raise UserError(f"{path}: not a run folder: it holds no recipe.yaml")


def read_run(name: str, path: Path) -> FinishedRun:
    """Return the run in a folder that :func:`check_folder` accepts.

    Raises:
        UserError: the folder holds no finished run, or a damaged file.
    """
    if not (path / "summary.json").is_file():
        raise UserError(f"{path}: the run has not ended; go on with it: gatesearch run resume={path}")
    run = path.parent.parent if path.parent.name == PICKS else path
    summary, details = _read_json(path / "summary.json"), _read_json(path / "record.json")
    origin = _read_json(run / "logs" / "origin.json") if (run / "logs" / "origin.json").is_file() else {}
    missing = [key for key in ("goal", "best", "data", "export") if key not in summary]
    if missing:
        raise UserError(f"{path / 'summary.json'}: is damaged: it has no {missing[0]}")
    return FinishedRun(name, path, summary, details, origin)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: is damaged or missing: {error}; write it again: gatesearch run resume={path.parent}"
        ) from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: is damaged: it holds no record")
    return value


def _power(run: FinishedRun) -> str:
    power_mw = read(run.summary, "stream", "picked", "mean_power_mw")
    if power_mw is None:
        energy_uj, period_s = read(run.summary, "best", "expected_energy_uj"), read(run.details, "data", "period_s")
        power_mw = energy_uj / period_s / 1e3 if energy_uj and period_s else None
    return format_si(None if power_mw is None else power_mw / 1e3, "W")


def _programs(run: FinishedRun) -> str:
    sizes = {each["path"]: each["bytes"] for each in read(run.summary, "export", "artifacts", default=())}
    return format_si(sum(sizes.values()), "B")


def _firmware(key: str) -> Callable[[FinishedRun], str]:
    def total(run: FinishedRun) -> str:
        parts = read(run.summary, "firmware", key)
        return format_si(sum(parts.values()) if parts else None, "B")

    return total


# Heads of columns, each with the function that fills a cell.
_Columns = Mapping[str, Callable[[FinishedRun], str]]
_EVERY_GOAL: _Columns = {"power": _power, "programs": _programs}
_COLUMNS: Mapping[str, _Columns] = {
    "classification": {
        "accuracy": lambda run: format_percent(read(run.summary, "best", "accuracy")),
        "ungated": lambda run: format_percent(read(run.summary, "baseline", "accuracy")),
        **_EVERY_GOAL,
    },
    "detection": {
        "misses": lambda run: format_percent(read(run.summary, "stream", "picked", "miss_rate")),
        "FA/h": lambda run: format_cell(read(run.summary, "stream", "picked", "fa_per_hour")),
        **_EVERY_GOAL,
        "flash": _firmware("flash"),
        "RAM": _firmware("ram"),
    },
    "reconstruction": {
        "fidelity": lambda run: format_percent(read(run.summary, "best", "quality")),
        "ungated": lambda run: format_percent(read(run.summary, "baseline", "quality")),
        **_EVERY_GOAL,
    },
}


def build_table(runs: Sequence[FinishedRun]) -> tuple[Row, list[Row]]:
    """Return the heads and the rows of the table of runs with the same goal."""
    columns = _COLUMNS[runs[0].goal]
    rows = [(run.name, run.summary["best"]["digest"], *(fill(run) for fill in columns.values())) for run in runs]
    return ("", "plan", *columns), rows


def group_by_goal(runs: Sequence[FinishedRun]) -> dict[str, list[FinishedRun]]:
    """Return the runs by goal; figures of unlike goals cannot be compared."""
    groups: dict[str, list[FinishedRun]] = {}
    for run in runs:
        groups.setdefault(run.goal, []).append(run)
    return groups


def list_differences(runs: Sequence[FinishedRun]) -> dict[str, dict[str, list[str]]]:
    """Return what differs between runs: for each key, the values with the names of the runs that have them.

    The keys are those of the recipe, the digest of each split of the data, and the commit, and the processor.
    """
    described = {run.name: _describe(run) for run in runs}
    keys = dict.fromkeys(key for values in described.values() for key in values)
    differences = {}
    for key in keys:
        by_value: dict[str, list[str]] = {}
        for name, values in described.items():
            by_value.setdefault(values.get(key, "not recorded"), []).append(name)
        if len(by_value) > 1:
            differences[key] = by_value
    return differences


def _describe(run: FinishedRun) -> dict[str, str]:
    recipe = {f"recipe {key}": json.dumps(value) for key, value in read(run.origin, "recipe", default={}).items()}
    data = {f"data {split}": f"digest {value}" for split, value in read(run.origin, "data", default={}).items()}
    choice = read(run.summary, "pick", "choice")
    return {
        "choice of the plan": "the recipe's rule" if choice is None else str(choice),
        "commit": str(read(run.details, "revision", default="not recorded")),
        "processor": str(read(run.details, "machine", "cpu", default="not recorded")),
        **data,
        **recipe,
    }


def say_difference(key: str, by_value: Mapping[str, Sequence[str]]) -> str:
    """Return a line on a key that differs.

    >>> say_difference("recipe seed", {"0": ["A", "C"], "1": ["B"]})
    'recipe seed: A, C 0; B 1'
    """
    return f"{key}: " + "; ".join(f"{', '.join(names)} {value}" for value, names in by_value.items())
