"""The tables of whole networks on the page of the ``kernels`` benchmark."""

from __future__ import annotations

from collections.abc import Mapping

from gatesearch.report.rows import markdown_table
from results.benchmark import NOT_RUN
from results.kernels.figures import Times
from results.kernels.networks import GROUP, NETWORKS


def tables(minima: Mapping[tuple[str, str], Times]) -> dict[str, str]:
    """Return a table for each network: times in us, and speeds relative to the fastest ungated int8 network."""
    return {name: _table(minima.get((GROUP, name))) for name in NETWORKS}


def _table(times: Times | None) -> str:
    if times is None:
        return NOT_RUN
    _, fastest = times.best(times.named("int8: "))
    lines = [
        [form, name.removeprefix(start), f"{times[name]:.1f}", f"{fastest / times[name]:.2f}"]
        for form, start in (("fp32", "fp32: "), ("int8", "int8: "), ("int8, gated", "gated: "))
        for name in times.named(start)
    ]
    return markdown_table(["format", "network", "us", "times faster than the fastest ungated int8"], lines)
