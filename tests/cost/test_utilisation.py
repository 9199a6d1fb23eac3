"""Tests of utilisation, the share of time for which a stream keeps a core busy.

Too much utilisation breaks a constraint.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.cost.energy import StageCost
from gatesearch.cost.feasibility import overloads
from gatesearch.cost.utilisation import mean_utilisation, worst_utilisation
from gatesearch.plan import GatePlan, PlacedGate
from tests.cost.test_model import SHARES, model

MODEL = model()
UNGATED = GatePlan((), ("app",))
GATED = GatePlan((PlacedGate.of("gc", "stem", mode="channel", keep=0.5),), ("mcu", "app"))


@pytest.mark.parametrize("plan", [UNGATED, GATED])
def test_a_stream_faster_than_the_busiest_core_breaks_a_constraint(plan: GatePlan) -> None:
    everything = {kind: [1.0] * len(plan.cores) for kind in SHARES}
    second = replace(MODEL, period_s=1.0).price(plan, everything).worst_utilisation
    busiest = max(second, key=second.__getitem__)
    busy_us = second[busiest] * 1e6
    assert busy_us > 0
    assert not replace(MODEL, period_s=1.01 * busy_us * 1e-6).violations(plan)
    broken = replace(MODEL, period_s=0.99 * busy_us * 1e-6).violations(plan)
    assert f"{busiest}.utilisation" in broken
    assert broken[f"{busiest}.utilisation"] == pytest.approx(1 / 0.99 - 1)


def test_the_mean_bounds_a_stream_without_a_bound_on_the_longest_path() -> None:
    everything = {kind: [1.0, 1.0] for kind in SHARES}
    few = {"positive": [1.0, 1.0], "noise": [1.0, 0.0]}
    price = replace(MODEL, period_s=1.0).price(GATED, few)
    worst = replace(MODEL, period_s=1.0).price(GATED, everything).worst_utilisation
    assert price.worst_utilisation == worst
    assert price.utilisation["app"] == pytest.approx(SHARES["positive"] * worst["app"])
    between_s = (price.utilisation["app"] + worst["app"]) / 2
    if between_s > max(price.utilisation.values()):
        assert "app.utilisation" in replace(MODEL, period_s=between_s).violations(GATED)
        assert not replace(MODEL, period_s=between_s, max_utilisation=None).violations(GATED)
    too_fast = replace(MODEL, period_s=price.utilisation["app"] / 2, max_utilisation=None)
    assert "app.mean utilisation" in too_fast.violations(GATED)


def test_the_ungated_baseline_runs_on_a_core_that_keeps_up() -> None:
    cheapest = MODEL.ungated()[0]
    busy_s = replace(MODEL, period_s=1.0).ungated()[1].worst_utilisation
    core = cheapest.cores[0]
    other = next(name for name in MODEL.device.core_names if name != core)
    alone = replace(MODEL, period_s=1.0).price(GatePlan((), (other,)), {kind: [1.0] for kind in SHARES})
    if max(alone.worst_utilisation.values()) < busy_s[core]:
        between_s = (max(alone.worst_utilisation.values()) + busy_s[core]) / 2
        assert replace(MODEL, period_s=between_s).ungated()[0].cores == (other,)


@given(
    us=st.lists(st.floats(1, 1e6), min_size=1, max_size=5),
    cores=st.lists(st.sampled_from("ab"), min_size=5, max_size=5),
    share=st.floats(0, 1),
    period_us=st.floats(1, 1e6),
)
def test_the_mean_is_never_above_the_worst(us: list[float], cores: list[str], share: float, period_us: float) -> None:
    runs = [StageCost(core, latency, 0.0) for core, latency in zip(cores, us, strict=False)]
    mean = mean_utilisation(runs, [share] * len(runs), period_us, {"a": 1.0})
    worst = worst_utilisation([runs], period_us, {"a": 1.0})
    assert mean.keys() == worst.keys()
    assert all(mean[core] <= worst[core] * (1 + 1e-12) for core in mean)
    broken = overloads(mean, worst)
    assert {name for name in broken if name.endswith(".utilisation")} == {
        f"{core}.utilisation" for core in worst if worst[core] > 1
    }
