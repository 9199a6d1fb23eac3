"""The gate on the signal is priced on the core that runs the front end."""

from __future__ import annotations

from typing import Any

import pytest

from gatesearch.cost.signal_gate import signal_gate_uj
from gatesearch.cost.sources import board
from gatesearch.devices import profile
from gatesearch.gates import KernelCall
from gatesearch.gates.level import STATISTICS, SignalFormat
from gatesearch.kernels.level import LevelKernel
from tests.cost.test_model import model


def form(statistic: str = "spread") -> SignalFormat:
    return SignalFormat(statistic=statistic, window=16000, hop=640, frame=320)


def test_a_sum_takes_as_long_as_a_multiply_accumulate_of_the_front_end() -> None:
    cost = model()
    core = cost.sense_core
    us = core.timing.frontend_us(640.0)
    assert us is not None and signal_gate_uj(cost, form()) == core.compute_uj(us)
    assert signal_gate_uj(cost, form("flatness")) == pytest.approx(62 * signal_gate_uj(cost, form()))


def test_a_reading_of_the_core_counts_where_there_is_one() -> None:
    class Costs:
        provenance = "measured"

        def reading(self, call: KernelCall) -> float:
            assert call.kernel == "level" and call.shape[0] == 640
            return 123.0

    costs: Any = Costs()
    core = model().sense_core
    assert signal_gate_uj(model(kernels={core.name: costs}), form()) == core.compute_uj(core.latency_us(123.0))


@pytest.mark.parametrize("device", ["three_core", "cortex_a", "m55_u55"])
@pytest.mark.parametrize("statistic", STATISTICS)
def test_cores_with_a_shipped_table_have_readings(device: str, statistic: str) -> None:
    """A hop of 40 ms takes 1,400 to 6,000 instructions, a flatness 30 times as many."""
    for costs in board.kernels_of(profile.load(device)).values():
        reading = costs.reading(LevelKernel().call(form(statistic)))
        assert reading is not None
        low, high = (50_000, 170_000) if statistic == "flatness" else (1_000, 7_000)
        assert low < reading < high
