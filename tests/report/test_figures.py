"""Tests of the report's figures: which figures are drawn for which record, and what they show."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.report import figures
from gatesearch.report.fields import list_kinds
from gatesearch.report.figures import energy, front, gates, layers
from gatesearch.report.figures.front import staircase, ungated_point
from gatesearch.report.sections import plan
from gatesearch.report.text import format_micro, format_si

STREAM_FIGURES = ("det", "detail", "whole", "power", "openings", "stops", "latencies")


def test_every_figure_of_a_finished_run_is_drawn_and_none_of_an_empty_one(
    record: dict[str, Any], empty: dict[str, Any]
) -> None:
    drawn = figures.draw_all(record)
    assert not drawn.pop("paths") and not drawn.pop("light-by-class")  # a keyword spotter has one path
    assert not any(drawn.pop(name) for name in STREAM_FIGURES)  # clips are no stream
    assert all(svg and svg.startswith("<svg viewBox=") and svg.endswith("</svg>") for svg in drawn.values())
    assert {"front", "reach", "energy-term", "roc-0", "roc-1", "hypervolume"} <= set(drawn)
    assert not any(figures.draw_all(empty).values())


def test_figures_are_reproducible_and_do_not_change_the_users_settings(
    record: dict[str, Any], empty: dict[str, Any]
) -> None:
    before = dict(mpl.rcParams)
    few = empty | {"streaming": record["streaming"]}
    assert figures.draw_all(few)["streaming"] == figures.draw_all(few)["streaming"] is not None
    assert dict(mpl.rcParams) == before


def test_the_front_is_written_as_png_if_a_trial_was_trained(
    record: dict[str, Any], empty: dict[str, Any], tmp_path: Path
) -> None:
    path = figures.write_front_png(record, tmp_path / "front.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="no trained trial"):
        figures.write_front_png(empty, tmp_path / "none.png")


def test_front_of_a_single_trial_has_ticks(record: dict[str, Any]) -> None:
    record["trials"] = [trial for trial in record["trials"] if trial["on_front"]][:1]
    record["reference"] = None
    drawing = front.draw_front(record)
    assert drawing is not None
    axes = drawing.axes[0]
    low, high = axes.get_xlim()
    assert sum(low <= tick <= high for tick in axes.get_xticks()) >= 2


def test_the_ungated_backbone_is_drawn_at_its_validation_accuracy(record: dict[str, Any]) -> None:
    point = ungated_point(record)
    assert point is not None
    assert point[1] == record["curves"][0]["validation_accuracy"][-1] != record["reference"]["accuracy"]
    trial = record["trials"][0] | {"accuracy": 0.9, "plan": {"gates": [], "cores": ["mcu"]}}
    assert ungated_point(record | {"trials": [trial]}) == (
        record["reference"]["expected_energy_uj"],
        0.9,
        "as a trial of the search",
    )


def test_energy_without_an_ungated_split_shows_its_total(record: dict[str, Any]) -> None:
    del record["energy"]["ungated_by_term"]
    drawing = energy.draw_terms(record)
    assert drawing is not None
    assert "total, not split" in drawing.axes[0].get_legend_handles_labels()[1]


def test_stages_cover_the_sites_and_meet_at_their_gates(record: dict[str, Any]) -> None:
    stages = plan.build_stages(record)
    boxes = [site for stage in stages for site in stage["sites"] if site["left"] is None]
    assert [site["name"] for site in boxes] == [s["name"] for s in record["sites"]]
    assert [stage["exit"] and stage["exit"]["site"] for stage in stages] == ["stem", "blocks.1", None]
    assert "sends 16 of" in stages[1]["exit"]["sends"]
    assert len({stage["colour"] for stage in stages}) == 3


def test_a_gate_inside_a_layer_is_marked_at_its_site(record: dict[str, Any]) -> None:
    record["plan"]["gates"].insert(1, {"kind": "pg", "site": "blocks.0", "params": {"bits": 8}})
    marked = {site["name"]: site["marks"] for stage in plan.build_stages(record) for site in stage["sites"]}
    assert marked.pop("blocks.0") == ["pg bits 8"]
    assert not any(marked.values())


def test_gated_layers_are_drawn_in_their_stage_behind_the_site_where_their_block_begins(record: dict[str, Any]) -> None:
    drawn = [[site["name"] for site in stage["sites"]] for stage in plan.build_stages(record)]
    assert drawn == [
        ["input", "stem"],
        ["blocks.0.pointwise", "blocks.0", "blocks.1.pointwise", "blocks.1"],
        ["blocks.2.pointwise", "blocks.2", "blocks.3.pointwise", "blocks.3", "pool"],
    ]
    stages = plan.build_stages(record)
    shares = {site["name"]: site["left"] for stage in stages for site in stage["sites"] if site["left"]}
    assert [site["name"] for stage in stages for site in stage["sites"] if site["gated"]] == [
        f"blocks.{i}.pointwise" for i in (0, 2, 3)
    ]
    assert list(shares.values()) == ["77\u00a0%", "75\u00a0%", "66\u00a0%", "66\u00a0%"]
    assert [stage["layers"] for stage in stages] == [
        [],
        ["fbs in blocks.0.pointwise: density 0.75"],
        ["pg in blocks.2.pointwise, blocks.3.pointwise: bits 8, high_bits 4, mask m1"],
    ]


def test_a_gated_layer_with_the_name_of_a_cut_site_is_not_drawn_as_its_gate(
    record: dict[str, Any],
) -> None:
    exits = [stage["exit"] for stage in plan.build_stages(record)]
    record["layers"][0]["site"] = record["plan"]["gates"][2]["site"] = "stem"
    record["plan"]["gates"].insert(0, record["plan"]["gates"].pop(2))
    assert [stage["exit"] for stage in plan.build_stages(record)] == exits


def test_without_cut_sites_the_layers_draw_the_backbone(layer_gates_record: dict[str, Any]) -> None:
    [stage] = plan.build_stages(layer_gates_record)
    assert [site["name"] for site in stage["sites"]] == [f"blocks.{i}.pointwise" for i in range(4)]
    layer_gates_record["layers"] = layer_gates_record["layers"][2:]
    [stage] = plan.build_stages(layer_gates_record)
    assert [bool(site["left"]) for site in stage["sites"]] == [False, False, True, True]
    assert stage["elsewhere"] == [] and stage["exit"] is None


def test_the_bars_of_a_gated_layer_add_up_to_its_remaining_work(record: dict[str, Any]) -> None:
    drawing = layers.draw_layers(record)
    assert drawing is not None
    axes = drawing.axes[0]
    dense, *parts = axes.containers
    assert [bar.get_width() for bar in dense] == [512_000] * 4
    sums = [sum(bars[i].get_width() for bars in parts) for i in range(4)]
    assert sums == pytest.approx([row["macs_left"] for row in record["layers"]][::-1])
    assert axes.get_legend_handles_labels()[1] == ["dense int8", "call 1", "call 2, 4 × 8 bits", "the gates' own parts"]  # noqa: RUF001
    assert [tick.get_text() for tick in axes.get_yticklabels()][2:] == [
        "blocks.1.pointwise (no gate)",
        "blocks.0.pointwise",
    ]


def test_without_gated_layers_there_is_no_figure_of_them(record: dict[str, Any]) -> None:
    assert layers.draw_layers(record | {"layers": []}) is None
    del record["layers"]
    assert layers.draw_layers(record) is None


def test_each_training_has_its_own_line(record: dict[str, Any]) -> None:
    for names in (("baseline", "ungated", "gated"), ("baseline", "ungated retrained", "gated retrained")):
        record["curves"] = [curve | {"name": name} for curve, name in zip(record["curves"], names, strict=True)]
        drawing = gates.draw_learning(record, "train_loss", "loss", in_percent=False)
        assert drawing is not None
        assert len({(line.get_color(), line.get_linestyle()) for line in drawing.axes[0].lines}) == 3


def test_kinds_begin_with_positive(record: dict[str, Any], empty: dict[str, Any]) -> None:
    assert list_kinds(record) == ("positive", "_unknown_", "_silence_")
    assert list_kinds(empty) == ("positive",)


points = st.lists(st.tuples(st.integers(1, 50).map(float), st.integers(0, 50).map(float)), max_size=20)


@given(points)
def test_the_staircase_bounds_the_area_that_no_point_dominates(points_drawn: list[tuple[float, float]]) -> None:
    steps = staircase(points_drawn)
    assert steps == sorted(set(steps))
    for point in points_drawn:
        assert any(step[0] <= point[0] and step[1] >= point[1] for step in steps)
    assert all(a[1] < b[1] for a, b in pairwise(steps))


@given(st.floats(1e-11, 1e11))
def test_si_keeps_three_digits(value: float) -> None:
    number, _, unit = format_si(value, "J").partition("\u00a0")
    scale = {"pJ": 1e-12, "nJ": 1e-9, "µJ": 1e-6, "mJ": 1e-3, "J": 1, "kJ": 1e3, "MJ": 1e6, "GJ": 1e9}[unit]
    assert float(number) * scale == pytest.approx(value, rel=6e-3)
    assert 1 <= float(number) < 1000
    assert format_micro(value * 1e6, "J") == format_si(value, "J")
