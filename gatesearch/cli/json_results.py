"""Prints the results of commands as one JSON document, for programs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatesearch.pipeline.result import RunResult
    from gatesearch.report.runs import FinishedRun

PARITY_KEYS = ("gate_agreement", "prediction_agreement", "max_abs_error", "samples", "output_snr_db")


@contextlib.contextmanager
def divert_lines(as_json: bool) -> Iterator[None]:
    """Print lines on standard error within the context, so that standard output holds the document alone."""
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield


def describe_result(result: RunResult) -> dict[str, Any]:
    """Return what the steps of a run have made so far; a step that has not run gives null."""
    parity = result.parity
    record = result.record
    return {
        "run": str(result.folder.path),
        "plan": None if result.best is None else result.plan.to_dict() | {"digest": result.plan.digest},
        "parity": None if parity is None else {key: getattr(parity, key) for key in PARITY_KEYS},
        "shortfalls": list(result.shortfalls),
        "summary": None if record is None else record.summary,
    }


def describe_run(run: FinishedRun) -> dict[str, Any]:
    """Return the figures of a finished run for a comparison."""
    summary = run.summary
    return {
        "name": run.name,
        "run": str(run.path),
        "goal": summary.get("goal"),
        "baseline": summary.get("baseline"),
        "best": summary.get("best"),
        "stream": (summary.get("stream") or {}).get("picked"),
    }
