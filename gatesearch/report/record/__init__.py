"""What a run leaves for people and programs: summary.json, record.json (all that the report draws), its trials."""

from __future__ import annotations

from gatesearch.report.record.summary import bound, roc, show, write
from gatesearch.report.record.trials import BEGUN, ENGINE, begun, reference_point, so_far, write_trials

__all__ = ["BEGUN", "ENGINE", "begun", "bound", "reference_point", "roc", "show", "so_far", "write", "write_trials"]
