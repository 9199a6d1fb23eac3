"""Tests of the report's section on assumed constants: its sentences and its figure."""

from __future__ import annotations

import copy
from typing import Any

from gatesearch.report import page
from gatesearch.report.figures.sensitivity import draw_tornado
from gatesearch.report.sections import sensitivity


def test_the_sentences_name_the_range_and_what_flips_the_pick(record: dict[str, Any]) -> None:
    [moves, flips] = sensitivity.build_sentences(record)
    assert moves.startswith("12 constants of the device are assumed") and "50\u00a0% less" in moves
    answer = record["sensitivity"]
    for key in ("gain_low", "gain_high"):
        assert f"{answer[key]:.3g}" in moves
    assert (
        flips == "Another of the search's plans would be picked if one of these had another value: cores.c1.active_mw."
    )


def test_an_unknown_pick_is_not_mentioned(record: dict[str, Any]) -> None:
    unknown = copy.deepcopy(record)
    unknown["sensitivity"]["nominal"]["picked"] = None
    for row in unknown["sensitivity"]["constants"]:
        row["other_plan"] = None
    [moves] = sensitivity.build_sentences(unknown)
    assert "pick" not in moves
    assert "not known" in {row["pick"] for row in sensitivity.build_table(unknown)}


def test_the_figure_has_the_groups_and_the_ten_widest(record: dict[str, Any]) -> None:
    drawing = draw_tornado(record)
    assert drawing is not None
    axes = drawing.axes[0]
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names[:2] == ["all powers", "all wake-ups"] and len(names) == 2 + sensitivity.MAX_DRAWN_CONSTANTS + 1
    assert names[-1] == "c1.active_mw"  # it is not among the ten, but it changes the best plan
    swings = [row["swing"] for row in record["sensitivity"]["constants"]]
    assert names[2] == record["sensitivity"]["constants"][swings.index(max(swings))]["name"].removeprefix("cores.")
    nominal = record["sensitivity"]["nominal"]["gain"]
    ends = {bar.get_x() + bar.get_width() for bar in axes.patches} | {bar.get_x() for bar in axes.patches}
    for row in sensitivity.select_rows(record):
        for _, gain in sensitivity.list_gains(row):
            assert min(abs(end - gain) for end in ends) < 1e-9
    assert nominal in axes.lines[0].get_xdata()


def test_every_assumed_constant_is_in_the_page_and_a_run_without_any_says_so(record: dict[str, Any]) -> None:
    text = page.render(record)
    assert all(row["name"] in text for row in record["sensitivity"]["constants"])
    none = record | {"sensitivity": record["sensitivity"] | {"constants": [], "groups": []}}
    assert "No constant of the device is assumed." in page.render(none)
