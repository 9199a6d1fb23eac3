"""Tests of the benchmark that compares prices with published boards: its networks, its fit, and the page."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.graph.operators import OperatorCounter
from results.boards import factors, published
from results.boards.calls import kernel_calls, kind, macs
from results.boards.instructions import STREAM, CoreInstructions
from results.boards.networks import NETWORKS, WAKE_WORD
from results.boards.page import Boards

REFERENCES = {**NETWORKS, STREAM: WAKE_WORD}
TIMES = st.dictionaries(st.sampled_from("abcdef"), st.floats(0.01, 1000), min_size=2)


@pytest.mark.parametrize("task", REFERENCES)
def test_a_network_has_the_multiply_accumulates_of_its_reference(task: str) -> None:
    reference = REFERENCES[task]
    with OperatorCounter() as counter, torch.no_grad():
        reference.network()(torch.zeros(1, *reference.shape))
    assert counter.macs == reference.macs == macs(kernel_calls(reference)) and not counter.unknown


def test_calls_fall_into_kinds_of_layers() -> None:
    kinds = {task: {kind(call) for call in kernel_calls(reference)} for task, reference in NETWORKS.items()}
    assert kinds["ad"] == {"dense"} and kinds["ic"] == {"convolution", "pointwise", "dense", "other"}
    assert kinds["vww"] == {"convolution", "pointwise", "depthwise", "dense", "other"}


@given(TIMES, st.floats(0.001, 1000))
def test_times_in_proportion_to_instructions_are_predicted_exactly(readings: dict[str, float], factor: float) -> None:
    times = {task: factor * reading for task, reading in readings.items()}
    assert factors.fit(readings, times) == pytest.approx(factor)
    assert factors.largest(factors.leave_one_out(readings, times)) < 1e-9


@given(TIMES)
def test_the_error_of_a_network_does_not_depend_on_its_own_share_in_the_fit(readings: dict[str, float]) -> None:
    times = dict.fromkeys(readings, 1.0)
    first = next(iter(readings))
    errors = factors.leave_one_out(readings, times)
    slower = factors.leave_one_out(readings, {**times, first: 2.0})
    assert 2 * (1 + slower[first]) == pytest.approx(1 + errors[first])


def test_every_published_system_has_a_part_and_positive_figures() -> None:
    data = published.load()
    for system in data.systems:
        assert system.part in data.parts and min(system.ms.values()) > 0
        for task, uj in system.uj.items():
            if task in system.mw and system.ms_provenance == "derived":
                assert system.ms[task] == pytest.approx(uj / system.mw[task], rel=1e-3)
    assert {stream.part for stream in data.streams} <= set(data.parts)


def test_the_page_shows_each_part_and_marks_errors_beyond_the_target() -> None:
    data = published.load()
    ms = data.fastest()["stm32l4r5"].ms
    exact = {**{task: 1e5 * time for task, time in ms.items()}, STREAM: 1e6}
    cores = {
        "cortex_m4": CoreInstructions(
            core="a core",
            predicted=exact,
            counted={**exact, "vww": 2 * exact["vww"]},
            counted_by_kind={task: dict.fromkeys(kinds_of(task), 1.0) for task in REFERENCES},
            tools={"compiler": "gcc", "emulator": "qemu", "sources": "0"},
        )
    }
    benchmark = Boards("gatesearch bench boards", cores, data)
    rows = {row.name: row for row in benchmark.rows()}
    assert rows["stm32l4r5: largest error of latency"].value < 1e-9
    assert rows["stm32l4r5: instructions per cycle"].value == pytest.approx(1e5 / 1e3 / 120)
    page = benchmark.text()
    assert "STM32L4R5" in page and "| **100%** |" in page and "STM32U385" not in page


def kinds_of(task: str) -> set[str]:
    """Return the kinds of layers of a network."""
    return {kind(call) for call in kernel_calls(REFERENCES[task])}
