"""The report of a run: figures and one self-contained HTML page, made from ``record.json``."""

from __future__ import annotations

from gatesearch.report.page import write_page

__all__ = ["write_page"]
