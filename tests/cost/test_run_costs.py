"""Tests that plans priced together cost what each costs by the estimates of its stages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.cost.model import CostModel
from gatesearch.errors import UserError
from gatesearch.plan import GatePlan, PlacedGate
from tests.cost import test_exits, test_hop_table
from tests.cost.test_stage_keys import plans, warm_model


def assert_equal_to_estimates(model: CostModel, together: list[GatePlan]) -> None:
    """Check the costs of plans with equally many stages, each on every placement of the others."""
    placements = [(plan.cores, plan.clocks) for plan in together]
    costs = model.run_costs.price_many([plan.gates for plan in together], placements)
    for i, plan in enumerate(together):
        for k, (cores, clocks) in enumerate(placements):
            expected = model.at_clocks(clocks).coefficients(GatePlan(plan.gates, cores), None)
            np.testing.assert_allclose(costs[i, k], expected, rtol=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.lists(plans(), min_size=1, max_size=8))
def test_plans_priced_together_cost_what_their_stages_cost(drawn: list[GatePlan]) -> None:
    for stages in {len(plan.cores) for plan in drawn}:
        assert_equal_to_estimates(warm_model(), [plan for plan in drawn if len(plan.cores) == stages])


def test_plans_with_exits_priced_together_cost_what_their_stages_cost() -> None:
    plan = test_exits.PLAN
    other = GatePlan((PlacedGate.of("dsl", "stem", share=0.5, width=0.5, keep=1.0),), plan.cores)
    assert_equal_to_estimates(test_exits.cost_model(), [plan, other])


def test_plans_by_hops_and_by_windows_can_be_priced_together() -> None:
    cost = test_hop_table.model()
    assert cost.by_hop is not None
    layer = PlacedGate.of("fbs", cost.layers[1].name, density=0.5)
    together = cost.run_costs.price_many([(), (layer,)], [(("mcu",), ())])[:, 0]
    empty, gated = GatePlan((), ("mcu",)), GatePlan((layer,), ("mcu",))
    np.testing.assert_allclose(together[0], cost.by_hop.coefficients(empty, None), rtol=1e-12)
    np.testing.assert_allclose(together[1, 0], together[0, 0])
    np.testing.assert_allclose(together[1, 1:], cost.by_window.coefficients(gated, None)[1:], rtol=1e-12)


def test_a_core_or_a_site_that_does_not_exist_is_refused() -> None:
    model = warm_model()
    with pytest.raises(ValueError, match="2 cores for 1 stages"):
        model.run_costs(GatePlan((), ("mcu", "app")))
    with pytest.raises(UserError, match="mpu"):
        model.run_costs(GatePlan((), ("mpu",)))
    with pytest.raises(UserError, match="conv9"):
        model.run_costs(GatePlan((PlacedGate.of("gc", "conv9", keep=1.0, mode="channel"),), ("mcu", "mcu")))
