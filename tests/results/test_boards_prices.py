"""Regression tests of the price: the kernel tables and profiles still give what results/boards shows."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gatesearch.devices import profile
from gatesearch.devices.engine import ENGINES
from results.benchmark import meets_target
from results.boards import published
from results.boards.instructions import TABLES, CoreInstructions, predicted_front_end, predicted_instructions
from results.boards.page import Boards
from results.boards.wake_word import energy_run_mw

ROWS = Path(__file__).parents[2] / "results" / "boards" / "rows.json"
PROFILES = {"stm32l4r5": "m4", "stm32u385": "m33", "stm32u575": "m33"}


@cache
def page_rows() -> dict[str, dict[str, Any]]:
    """Return the rows of the published page by name."""
    return {row["name"]: row for row in json.loads(ROWS.read_text())}


def today(core: str) -> CoreInstructions:
    """Return the instructions of the networks by the shipped kernel table, beside the counts of the page."""
    predicted = predicted_instructions(core)
    counted = {task: page_rows()[f"{core}, {task}: instructions, counted"]["value"] for task in predicted}
    front_end = predicted_front_end(core)
    return CoreInstructions(
        core="a core",
        predicted=predicted,
        counted=counted,
        counted_by_kind={task: {} for task in predicted},
        predicted_front_end=front_end,
        counted_front_end=front_end,
        tools={},
    )


def test_prices_reach_the_targets_that_the_page_says_are_reached() -> None:
    benchmark = Boards("gatesearch bench boards", {core: today(core) for core in TABLES}, published.load())
    rows = {row.name: row for row in benchmark.rows() if row.target}
    reached = [row for row in page_rows().values() if row["target"] and meets_target(row["target"], row["value"])]
    assert reached
    for row in reached:
        assert meets_target(row["target"], rows[row["name"]].value), row["name"]


def test_the_description_of_velas_engine_states_the_errors_of_the_page() -> None:
    [npu] = published.load().npus
    memory = npu.memories["Shared_Sram"]
    ratios = {
        task: 1 + page_rows()[f"{npu.title}, {task}, {memory}: error of Vela's time"]["value"]
        for task in npu.ms["Shared_Sram"]
    }
    spotter = ratios.pop("kws")
    description = ENGINES["vela"].description
    assert f"are {spotter:.2f} times the published {1e3 * npu.ms['Shared_Sram']['kws']:.0f} us" in description
    assert f"{min(ratios.values()):.2f} to {max(ratios.values()):.2f} times" in description


@pytest.mark.parametrize("part", PROFILES)
def test_a_profile_has_the_constants_of_the_page(part: str) -> None:
    data = published.load()
    core = profile.load(part).core(PROFILES[part])
    stream = next(each for each in data.streams if each.part == part and each.mhz == core.timing.clock_mhz.value)
    factor = page_rows()[f"{part}: instructions per cycle"]["value"]
    assert core.timing.instructions_per_cycle.value == pytest.approx(factor, rel=0.02)
    assert core.active_mw.value == pytest.approx(energy_run_mw(data, part, stream.supply), rel=0.01)
    assert core.floor_mw.value == stream.floor_mw
