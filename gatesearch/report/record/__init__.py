"""What a run leaves for people and programs: summary.json, and record.json, all that the report draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RunRecord:
    """The record of a finished run, as JSON has it.

    Args:
        summary: content of summary.json.
        details: content of record.json.
    """

    summary: dict[str, Any]
    details: dict[str, Any]
