"""Tests of the benchmark that compares prices with published boards: its networks, its fit, and the page."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.cost.sources import board
from gatesearch.devices import profile
from gatesearch.graph.operators import OperatorCounter
from results.boards import factors, published
from results.boards.calls import kernel_calls, kind, macs
from results.boards.comparison import compare
from results.boards.ethos_u import NpuTime
from results.boards.instructions import STREAM, CoreInstructions, predicted_instructions
from results.boards.networks import NETWORKS, WAKE_WORD
from results.boards.page import Boards
from results.boards.part_factors import PartFactor, part_factors
from results.boards.wake_word import wake_words

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


def test_mean_power_of_a_published_run_follows_from_its_duty_active_power_and_floor() -> None:
    streams = [stream for stream in published.load().streams if stream.floor_mw is not None]
    assert streams
    for stream in streams:
        mean_mw = stream.duty * stream.active_mw + (1 - stream.duty) * stream.floor_mw
        assert mean_mw == pytest.approx(stream.mean_mw)


def instructions(predicted: dict[str, float], counted: dict[str, float] | None = None) -> CoreInstructions:
    """Return made-up instructions of the networks on a core."""
    return CoreInstructions(
        core="a core",
        predicted=predicted,
        counted=counted or predicted,
        counted_by_kind={
            task: dict.fromkeys({kind(call) for call in kernel_calls(reference)}, 1.0)
            for task, reference in REFERENCES.items()
        },
        predicted_front_end=1e5,
        counted_front_end=1e5,
        tools={"compiler": "gcc", "emulator": "qemu", "sources": "0"},
    )


def latencies(part: str, organisation: str) -> dict[str, float]:
    """Return the published latencies of a system."""
    systems = (each for each in published.load().systems if (each.part, each.organisation) == (part, organisation))
    return dict(next(systems).ms)


def test_the_page_shows_each_part_and_marks_errors_beyond_the_target() -> None:
    exact = {**{task: 1e5 * time for task, time in latencies("stm32l4r5", "Bosch").items()}, STREAM: 1e6}
    cores = {"cortex_m4": instructions(exact, {**exact, "vww": 2 * exact["vww"]})}
    benchmark = Boards("gatesearch bench boards", cores, published.load())
    rows = {row.name: row for row in benchmark.rows()}
    assert rows["stm32l4r5: largest error of latency"].value < 1e-9
    assert rows["stm32l4r5: instructions per cycle"].value == pytest.approx(1e5 / 1e3 / 120)
    page = benchmark.text()
    assert "Bosch, v1.2" in page and "| **100%** |" in page and "STM32U385 |" not in page


def test_a_part_takes_the_factor_of_the_same_core_if_its_own_software_is_far() -> None:
    exact = {**{task: 1e5 * time for task, time in latencies("stm32u575", "Bosch").items()}, STREAM: 1e6}
    data = published.load()
    cores = {"cortex_m33": instructions(exact)}
    part_rows = part_factors(data, compare(data, cores), cores)
    assert part_rows["stm32u575"].instructions_per_cycle == pytest.approx(1e5 / 1e3 / 160)
    ours, theirs = (latencies(part, "STMicroelectronics") for part in ("stm32u385", "stm32u575"))
    ratio = factors.fit(theirs, ours) * 96 / 160  # cycles of the same software on both parts
    assert part_rows["stm32u385"].instructions_per_cycle == pytest.approx(1e5 / 1e3 / 160 / ratio)
    assert "STM32U575" in part_rows["stm32u385"].source and part_rows["stm32u385"].is_tested


@given(st.floats(1e4, 1e7), st.floats(0.3, 2))
def test_mean_power_lies_between_the_floor_and_the_active_power(work: float, factor: float) -> None:
    data = published.load()
    cores = {name: instructions({STREAM: work}) for name in ("cortex_m4", "cortex_m33")}
    part_values = {part: PartFactor(part, factor, "made up", True) for part in data.parts}
    predictions = wake_words(data, cores, part_values)
    assert {each.stream.part for each in predictions} == {"stm32u385", "stm32u575", "stm32l4r5", "stm32h7a3"}
    for each in predictions:
        assert min(each.floor_mw, each.active_mw) <= each.mean_mw <= max(each.floor_mw, each.active_mw)
        cycles = (work + 1e5) / factor
        assert each.duty == pytest.approx(cycles / (0.032e6 * each.stream.mhz))


def test_power_at_a_slower_clock_falls_but_for_the_part_that_two_floors_show() -> None:
    data = published.load()
    cores = {"cortex_m4": instructions({STREAM: 1e6})}
    predictions = wake_words(data, cores, {"stm32l4r5": PartFactor("stm32l4r5", 1.0, "made up", True)})
    powers = {each.stream.mhz: each.active_mw for each in predictions}
    static = 10 - 70 * (13 - 10) / (120 - 70)  # floors of 10 mW at 70 MHz and 13 mW at 120 MHz
    assert powers[70] == pytest.approx(static + (powers[120] - static) * 70 / 120)


def test_the_price_of_a_network_is_the_sum_of_its_kernel_calls() -> None:
    core = profile.load("three_core").core("mcu")
    costs = board.costs_of(core)
    assert costs is not None
    for task, reference in REFERENCES.items():
        network, example = reference.network(), torch.zeros(1, *reference.shape)
        expected = predicted_instructions("cortex_m4")[task]
        assert board.module_reading(core, costs, network, example) == pytest.approx(expected), task


@given(TIMES, st.floats(0.01, 100), st.floats(0, 100))
def test_a_term_for_weights_is_found_where_there_is_one(
    readings: dict[str, float], factor: float, per_byte: float
) -> None:
    weight_bytes = {task: 1.0 + index**2 for index, task in enumerate(readings)}
    times = {task: factor * reading + per_byte * weight_bytes[task] for task, reading in readings.items()}
    first, second = factors.fit_with_bytes(readings, weight_bytes, times)
    again = {task: first * readings[task] + second * weight_bytes[task] for task in readings}
    assert again == pytest.approx(times, rel=1e-6)


@given(st.floats(1e3, 1e7))
def test_the_error_of_an_estimate_of_vela_follows_from_cycles_and_clock(cycles: float) -> None:
    for npu in published.load().npus:
        for memory, times in npu.ms.items():
            assert set(times) == set(NETWORKS) and memory in npu.memories
            for task, ms in times.items():
                time = NpuTime(npu=npu, task=task, memory=memory, cycles=cycles)
                assert (1 + time.error) * ms == pytest.approx(cycles / (npu.mhz * 1e3))


def test_the_page_shows_published_and_estimated_times_of_an_npu() -> None:
    [npu] = published.load().npus
    times = [
        NpuTime(npu=npu, task="kws", memory="Shared_Sram", cycles=54_000),
        NpuTime(npu=npu, task="vww", memory="Sram_Only", cycles=406_000),
    ]
    cores = {"cortex_m4": instructions({**latencies("stm32l4r5", "Bosch"), STREAM: 1e6})}
    benchmark = Boards("gatesearch bench boards", cores, published.load(), npu_times=times)
    rows = {row.name: row.value for row in benchmark.rows()}
    assert rows["RA8P1, kws, weights in flash, activations in SRAM: error of Vela's time"] == pytest.approx(0)
    page = benchmark.text()
    assert "| kws | 108 | 108 | +0% |" in page and "| vww | 406 | 812 | **+100%** |" in page
    assert "## Vela and an Ethos-U55" not in Boards("gatesearch bench boards", cores, published.load()).text()
