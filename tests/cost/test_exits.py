"""Tests of the price of a gate with an exit (a light path): only samples that take the exit pay for it.

The gate is a dynamic switch (``dsl``): it sends easy samples to a small decoder, and the others on to the next stage.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from gatesearch.cost.blocks import exit_of
from gatesearch.gates import work_of
from gatesearch.graph.sites import CutSite
from gatesearch.plan import GatePlan, PlacedGate
from tests.cost import test_model as test_cost
from tests.cost.test_model import SHARES, model, surface, table

SITES = (
    CutSite("input", (1, 64, 1), 0, 3000, 0, 400, "x", output=(1, 64, 1)),
    CutSite("stem", (4, 8, 1), 1000, 2000, 100, 300, "stem", output=(1, 64, 1)),
)
GATE = PlacedGate.of("dsl", "stem", share=0.75, width=0.5, keep=1.0)
PLAN = GatePlan((GATE,), ("mcu", "mcu"))
LEAVING = {kind: (1.0, 0.25) for kind in SHARES}


def cost_model() -> test_cost.CostModel:
    light = {"macs": 100.0, "weight_bytes": 50.0, "activation_bytes": 64.0, "mcu": 500.0, "app": 2.0}
    heads = {
        **table().heads,
        "dsl@stem": {"mcu": surface(8.0), "app": surface(3.0)},
        exit_of(GATE, "stem"): {key: surface(value) for key, value in light.items()},
    }
    return model(table=table(heads=heads), sites=SITES)


def test_the_exit_is_an_estimate_of_its_own_and_waits_in_the_memory_of_its_stage() -> None:
    cost, work = cost_model(), work_of(SITES[1], GATE)
    first, last = cost.stages(PLAN)
    assert last.exit is None and first.exit is not None
    assert first.exit.macs == work.exit_macs and first.exit.params == work.exit_params
    assert first.exit.cost.latency_us == pytest.approx(500 / 50)
    assert first.macs == 1000 + work.macs  # without the light path, which not every window runs
    assert first.flash_bytes == 100 + work.params + 3 + 50 and first.sram_bytes == 64
    assert first.cost.weights_uj == pytest.approx(cost.stages(GatePlan((), ("mcu",)))[0].cost.weights_uj)


def test_the_expected_cost_weighs_each_path_by_its_share() -> None:
    cost = cost_model()
    first, last = cost.stages(PLAN)
    light = first.exit
    assert light is not None
    price = cost.price(PLAN, LEAVING)
    assert price.expected_macs == pytest.approx(first.macs + 0.75 * light.macs + 0.25 * last.macs)
    alone = cost.frontend_us + first.cost.total_us
    assert price.expected_latency_us == pytest.approx(alone + 0.75 * light.cost.total_us + 0.25 * last.cost.total_us)
    assert price.longest_latency_us == pytest.approx(alone + max(light.cost.total_us, last.cost.total_us))
    assert price.exits == {0: pytest.approx({name: 0.75 * value for name, value in light.cost.terms.items()})}
    compute = first.cost.compute_uj + 0.75 * light.cost.compute_uj + 0.25 * last.cost.compute_uj
    assert price.energy.by_term["compute"] == pytest.approx(compute)


def test_the_bound_uses_the_target_share_of_the_exit() -> None:
    cost = cost_model()
    assert cost.bound(PLAN).reach == pytest.approx((1.0, 0.25 * SHARES["positive"]))
    assert replace(cost, shares={"positive": 1.0}).bound(PLAN).reach == pytest.approx((1.0, 0.25))


def test_an_exit_that_a_core_cannot_run_keeps_the_plan_off_it() -> None:
    cost = cost_model()
    heads = dict(cost.table.heads)
    key = exit_of(GATE, "stem")
    heads[key] = {**heads[key], "mcu": surface(float("inf"))}
    broken = replace(cost, table=replace(cost.table, heads=heads))
    assert "mcu.operators" not in cost.violations(PLAN)
    assert broken.violations(PLAN)["mcu.operators"] == 1.0


def test_an_exit_without_a_reading_is_not_free() -> None:
    heads = {**table().heads, "dsl@stem": {"mcu": surface(8.0), "app": surface(3.0)}}
    bare = model(table=table(heads=heads), sites=SITES)
    with pytest.raises(KeyError, match="exit dsl-width"):
        bare.stages(PLAN)
