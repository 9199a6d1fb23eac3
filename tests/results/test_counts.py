"""Tests of the benchmark that counts operations: the counts of a few networks, and the page."""

from __future__ import annotations

from typing import Any

import pytest

from results.counts.page import Counts

COUNT = {"macs": 10, "record": 10, "reference": 10, "by": "hand", "unknown": {}}
PLAN = {"file": 1000, "arena": 2000, "file_estimate": 1050, "arena_estimate": 1500}


def test_the_page_says_how_many_agree() -> None:
    benchmark = Counts("gatesearch bench counts", {"a": COUNT, "b": {**COUNT, "macs": 9}}, {"a": PLAN})
    rows = {row.name: row for row in benchmark.rows()}
    assert rows["error of MACs, b"].value == 1 and rows["error of file, a"].value == pytest.approx(0.05)
    page = benchmark.text()
    assert "1 of 2 networks" in page and "0 of 1 programs" in page and "-25.0%" in page


def test_a_few_networks_agree_with_their_reference() -> None:
    pytest.importorskip("torchvision")
    pytest.importorskip("timm")
    from results.counts import measure

    for name in ("LeNet", "attention, einsum", "attention, batch first", "gru, bidirectional", "3-D", "grouped"):
        row: dict[str, Any] = measure.count(name)
        assert row["macs"] == row["record"] == row["reference"] and not row["unknown"], name
    program, estimate = measure.program("LeNet"), measure.estimate("LeNet")
    assert estimate["file_estimate"] == pytest.approx(program["file"], rel=0.1)
    assert estimate["arena_estimate"] == pytest.approx(program["arena"], rel=0.1)
