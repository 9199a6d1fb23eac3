"""Tests of prices by cycles: executed mnemonics, estimates of cycles, and the comparison with instructions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.cost.sources.board import count as board_count
from gatesearch.pipeline.run_dir import RunFolder
from results.boards import cycles, mnemonics, published
from results.boards.calls import by_kind
from results.boards.instructions import CoreInstructions, distinct_calls, network_calls
from results.boards.mnemonics import Executions
from results.boards.page import Boards

ROWS = Path(__file__).parents[2] / "results" / "boards" / "rows.json"
NAMES = ("smlad", "ldrd", "ldr.w", "bne.n", "cbz", "bl", "ldmia.w", "udiv", "vmul.f32")
needs_package = pytest.mark.skipif(not cycles.is_installed(), reason="extra bench is not installed")


@st.composite
def executed(draw: st.DrawFn) -> dict[str, Executions]:
    """Draw executed mnemonics, some of them taken branches."""
    numbers = draw(st.dictionaries(st.sampled_from(NAMES), st.integers(0, 10**6), min_size=1))
    return {name: Executions(number, draw(st.integers(0, number))) for name, number in numbers.items()}


@given(st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5), st.integers(1, 99)), max_size=5), max_size=4))
def test_the_mnemonics_of_a_turn_add_up_to_the_instructions_of_its_blocks(
    turns: list[list[tuple[int, int, int]]],
) -> None:
    program = {4 * index: (4, NAMES[index % len(NAMES)]) for index in range(20)}
    lines = []
    for blocks in turns:
        lines.append("turn")
        lines += [f"{4 * start:x} {length} {runs} 0" for start, length, runs in blocks]
    read = mnemonics.read_turns("\n".join(lines), program)
    expected = [sum(length * runs for _, length, runs in blocks) for blocks in turns]
    assert [mnemonics.instructions(own) for own in read] == expected


def test_only_the_last_instruction_of_a_block_is_a_taken_branch() -> None:
    program = {0: (2, "cmp"), 2: (4, "bne.w"), 6: (2, "bne.n")}
    (read,) = mnemonics.read_turns("turn\n0 2 9 4\n2 1 3 3\n6 1 5 0\n", program)
    assert read == {"cmp": (9, 0), "bne.w": (12, 7), "bne.n": (5, 0)}


@needs_package
@given(executed(), st.sampled_from(sorted(cycles.VARIANTS.values())))
def test_each_estimate_lies_between_least_and_largest_cycles(own: dict[str, Executions], variant: str) -> None:
    least, *middle, largest, branches = (cycles.cycles(own, variant, estimate) for estimate in cycles.ESTIMATES)
    assert mnemonics.instructions(own) <= least
    for each in (*middle, branches):
        assert least <= each <= largest


@needs_package
def test_a_taken_branch_takes_the_largest_number_of_cycles() -> None:
    (estimate,) = (each for each in cycles.ESTIMATES if each.counts_branches)
    assert cycles.cycles({"bne.n": Executions(10, 7)}, "m4", estimate) == 7 * 4 + 3 * 1
    assert cycles.cycles({"bic.w": Executions(10, 7)}, "m4", estimate) == 10


@needs_package
def test_instructions_of_one_cycle_predict_as_well_in_cycles() -> None:
    executed_calls = {call: {"smlad": Executions(100 + index, 0)} for index, call in enumerate(distinct_calls())}
    counted = {
        task: float(sum(number * executed_calls[call]["smlad"].number for call, number in calls.items()))
        for task, calls in network_calls().items()
    }
    core = CoreInstructions(
        core="a core",
        predicted={task: 2 * value for task, value in counted.items()},
        counted=counted,
        counted_by_kind={task: dict.fromkeys(by_kind(calls), 1.0) for task, calls in network_calls().items()},
        predicted_front_end=1.0,
        counted_front_end=float(list(executed_calls.values())[-1]["smlad"].number),
        tools={"compiler": "gcc", "emulator": "qemu", "sources": "0"},
    )
    cores = dict.fromkeys(cycles.VARIANTS, core)
    outcomes = cycles.outcomes(published.load(), cores, dict.fromkeys(cores, executed_calls))
    for outcome in outcomes[1:]:
        assert outcome.latency_errors == pytest.approx(outcomes[0].latency_errors)
        assert outcome.mean_power_error == pytest.approx(outcomes[0].mean_power_error)
        assert outcome.spread(outcomes[0]) == pytest.approx(0)
    page = Boards("gatesearch bench boards", cores, published.load(), outcomes).text()
    assert "## Cycles in place of instructions" in page


def test_the_page_says_rightly_that_cycles_predict_no_better_than_instructions() -> None:
    values = {row["name"]: row["value"] for row in json.loads(ROWS.read_text())}
    for figure in ("mean of the largest errors of latency", "mean size of the error of mean power"):
        for estimate in cycles.ESTIMATES:
            assert values[f"{estimate.name}: {figure}"] > values[f"counted instructions: {figure}"]


@pytest.mark.slow
def test_mnemonics_that_an_emulator_executes_add_up_to_its_instructions(tmp_path: Path) -> None:
    lacking = board_count.missing("cortex_m4") or (None if shutil.which("gcc") else "no gcc")
    if lacking:
        pytest.skip(lacking)
    call = min(network_calls()["kws"], key=lambda call: len(call.shape))
    own = mnemonics.count(RunFolder(tmp_path), "cortex_m4", [call])[call]  # raises an error if the sums differ
    assert mnemonics.instructions(own) > 0
