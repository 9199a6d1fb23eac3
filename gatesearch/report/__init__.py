"""The report of a run: figures and one self-contained HTML page, made from ``record.json``."""

from __future__ import annotations

from gatesearch.report.html import write

__all__ = ["write"]
