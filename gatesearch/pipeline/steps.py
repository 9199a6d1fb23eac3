"""Lists, in order, the steps of a run that are also commands, with a help text for each."""

from __future__ import annotations

from collections.abc import Mapping

STEPS: Mapping[str, str] = {
    "search": "Search for plans; continues a stopped search.",
    "retrain": "Train the best plan, calibrate its thresholds.",
    "export": "Cut the model into stages, with one program for each core.",
    "verify": "Compare every artifact with the model.",
    "report": "Write report.html of a run, even of an unfinished one.",
}
"""The help text of each step's command, by the name of the step."""
