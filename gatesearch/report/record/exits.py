"""The part of the record on gates with an exit: cost and quality of the light and the heavy path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gatesearch.gates import cut_gates, work_of
from gatesearch.graph.sites import find

if TYPE_CHECKING:
    from gatesearch.cost.model import CostModel
    from gatesearch.cost.price import Price, StageEstimate
    from gatesearch.plan import GatePlan
    from gatesearch.training import Figures


def light_path_costs(plan: GatePlan, cost: CostModel) -> dict[str, Any]:
    """Return the work and the parameters of the light and the heavy path; empty for a plan without exits.

    The light path is the exit of the first gate; the heavy path is everything after that gate. Resident parameters are
    the parameters before the gate, of both paths, and of the gates. They stay in memory whichever path a sample takes.
    """
    estimates = cost.stages(plan)
    if not estimates or estimates[0].exit is None:
        return {}
    gates = cut_gates(plan)
    works = [work_of(find(cost.sites, gate.site), gate) for gate in gates]
    gate_params = sum(work.params + work.exit_params for work in works)
    light, site = estimates[0].exit, find(cost.sites, gates[0].site)
    heavy_macs = sum(estimate.macs for estimate in estimates[1:])
    heavy_us = sum(estimate.cost.latency_us for estimate in estimates[1:])
    return {
        "light_macs": light.macs,
        "heavy_macs": heavy_macs,
        "shared_macs": estimates[0].macs,
        "heavy_over_light_macs": heavy_macs / light.macs,
        "light_params": light.params,
        "heavy_params": site.params_after,
        "heavy_over_light_params": site.params_after / light.params,
        "light_latency_us": light.cost.latency_us,
        "heavy_latency_us": heavy_us,
        "resident_params": site.params_before + site.params_after + gate_params,
    }


def exit_row(estimate: StageEstimate, price: Price, stage: int) -> dict[str, Any] | None:
    """Return the entry on a stage's exit for the stage's row in record.json; None for a stage without an exit."""
    if estimate.exit is None:
        return None
    return {
        "reach": price.reach[stage] - price.reach[stage + 1],
        "macs": estimate.exit.macs,
        "params": estimate.exit.params,
        "latency_us": estimate.exit.cost.latency_us,
        "energy_uj": dict(price.exits[stage]),
    }


def routing_rows(plan: GatePlan, gated: Figures, ungated: Figures) -> list[dict[str, Any]]:
    """Return the ways to route samples, with the quality of each; empty for a plan without exits.

    A device uses the first way. The other ways serve as comparison: all samples on the heavy path, all samples on the
    light path, random samples on the light path (as many as the switch sends), and the model trained without gates.

    Args:
        plan: the picked plan.
        gated: figures of the plan's model on the test split.
        ungated: figures of the backbone that was trained without gates.
    """
    figures = gated.gated_summary()
    if "light_share" not in figures or not cut_gates(plan):
        return []
    share = figures["light_share"]
    return [
        {"name": "routed by the switch", "light_share": share, "quality": gated.value},
        {"name": "all heavy", "light_share": 0.0, "quality": figures["quality_all_heavy"]},
        {"name": "all light", "light_share": 1.0, "quality": figures["quality_all_light"]},
        {"name": "routed at random", "light_share": share, "quality": figures["quality_random"]},
        {"name": "trained without gates", "light_share": None, "quality": ungated.value},
    ]
