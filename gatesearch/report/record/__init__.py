"""The record of a run: summary.json for programs, and record.json, from which the report is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RunRecord:
    """The record of a finished run, as values for JSON.

    Args:
        summary: the content of summary.json.
        details: the content of record.json.
    """

    summary: dict[str, Any]
    details: dict[str, Any]
