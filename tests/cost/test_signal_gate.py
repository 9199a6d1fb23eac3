"""Tests that a gate on the signal is priced on the core that runs the front end."""

from __future__ import annotations

from typing import Any

import pytest

from gatesearch.cost.signal_gate import signal_gate_us
from gatesearch.cost.sources import board
from gatesearch.devices import profile
from gatesearch.gates import KernelCall
from gatesearch.gates.level import STATISTICS, SignalFormat
from gatesearch.kernels.level import LevelKernel
from gatesearch.metrics.streams import Activity
from gatesearch.plan import GatePlan
from tests.cost.test_model import model


def form(statistic: str = "spread") -> SignalFormat:
    return SignalFormat(statistic=statistic, window=16000, hop=640, frame=320)


def test_a_sum_takes_as_long_as_a_multiply_accumulate_of_the_front_end() -> None:
    core = model().sense_core
    us = core.timing.frontend_us(640.0)
    assert us is not None and signal_gate_us(core, None, form()) == us
    assert signal_gate_us(core, None, form("flatness")) == pytest.approx(62 * signal_gate_us(core, None, form()))


def test_a_reading_of_the_core_replaces_the_estimate() -> None:
    class Costs:
        provenance = "measured"

        def reading(self, call: KernelCall) -> float:
            assert call.kernel == "level" and call.shape[0] == 640
            return 123.0

    costs: Any = Costs()
    core = model().sense_core
    assert signal_gate_us(core, costs, form()) == core.latency_us(123.0)


def test_a_price_over_a_stream_has_the_gate_once_a_hop() -> None:
    cost = model(signal_forms={"spread": form()})
    plan, activities = GatePlan((), ("mcu",)), [Activity(0.2, 0.01), Activity(0.2, 0.01)]
    without, with_gate = cost.price_stream(plan, activities), cost.price_stream(plan, activities, signal="spread")
    uj = cost.signal_gate_uj("spread")
    assert with_gate.energy.total_uj == pytest.approx(without.energy.total_uj + uj)
    assert with_gate.energy.by_core["mcu"] == pytest.approx(without.energy.by_core["mcu"] + uj)
    assert with_gate.energy.by_stage == without.energy.by_stage


@pytest.mark.parametrize("device", ["three_core", "cortex_a", "m55_u55"])
@pytest.mark.parametrize("statistic", STATISTICS)
def test_cores_with_a_shipped_table_have_readings(device: str, statistic: str) -> None:
    """A statistic of a hop of 40 ms takes 1,400 to 6,000 instructions; flatness takes 30 times as many."""
    for costs in board.kernels_of(profile.load(device)).values():
        reading = costs.reading(LevelKernel().call(form(statistic)))
        assert reading is not None
        low, high = (50_000, 170_000) if statistic == "flatness" else (1_000, 7_000)
        assert low < reading < high
