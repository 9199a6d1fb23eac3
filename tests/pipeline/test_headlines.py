"""Tests of the lines that begin the output and the report of a run: each says what is wrong and what to do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.pipeline.headlines import list_headlines
from gatesearch.report.page import render

FIGURES = {"mean_power_mw": 1.0, "miss_rate": 0.1, "fa_per_hour": 2.0}
figures = st.fixed_dictionaries({key: st.floats(0, 10) for key in FIGURES})


def stream(picked: dict[str, Any], level: dict[str, Any] | None, **entries: Any) -> dict[str, Any]:
    return {"picked": picked, "rivals": {} if level is None else {"level_gate": level}, **entries}


@given(picked=figures, level=figures)
def test_a_level_gate_that_is_as_good_in_all_figures_is_named(picked: dict[str, Any], level: dict[str, Any]) -> None:
    loses = all(level[key] <= picked[key] for key in FIGURES)
    assert len(list_headlines(None, stream(picked, level))) == loses


def test_a_plan_with_a_level_gate_of_its_own_is_not_compared_with_one() -> None:
    assert list_headlines(None, stream(FIGURES | {"signal_gate": {"statistic": "level"}}, FIGURES)) == []
    assert list_headlines(None, stream(FIGURES, None)) == list_headlines(None, None) == []


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        (list_headlines("the exported bundle is slower than the ungated int8 program: 9 us", None), "ship the ungated"),
        (list_headlines(None, stream(FIGURES, None, doubt="0.1 h of stream")), "lengthen it (data.hours)"),
        (list_headlines(None, stream(FIGURES, FIGURES)), "take the level gate"),
    ],
)
def test_the_report_begins_with_each_headline_and_its_advice(line: list[str], advice: str) -> None:
    assert len(line) == 1 and advice in line[0]
    page = render({"title": "words", "headlines": line})
    assert page.index(advice) < page.index("<h1>")
