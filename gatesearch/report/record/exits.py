"""What a run leaves about samples that leave through an exit: the light path beside the heavy one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gatesearch.gates import cut_gates, work_of
from gatesearch.graph.sites import find

if TYPE_CHECKING:
    from gatesearch.cost.model import CostModel
    from gatesearch.cost.price import Price, StageEstimate
    from gatesearch.plan import GatePlan
    from gatesearch.training import Figures


def summary(plan: GatePlan, cost: CostModel) -> dict[str, Any]:
    """Return work and parameters of the light path beside those of the heavy one; empty for a plan without exits.

    Light is the first gate's exit, heavy is all that lies behind that gate. Resident is everything that waits in
    memory, whichever path a sample takes: what lies before the gate, both paths, and the gates.
    """
    estimates = cost.stages(plan)
    if not estimates or estimates[0].exit is None:
        return {}
    works = [work_of(find(cost.sites, gate.site), gate) for gate in cut_gates(plan)]
    light, site = estimates[0].exit, find(cost.sites, cut_gates(plan)[0].site)
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
        "resident_params": site.params_before
        + site.params_after
        + sum(work.params + work.exit_params for work in works),
    }


def row(estimate: StageEstimate, price: Price, k: int) -> dict[str, Any] | None:
    """Return a stage's exit as a part of its row in record.json; None where it has none."""
    if estimate.exit is None:
        return None
    return {
        "reach": price.reach[k] - price.reach[k + 1],
        "macs": estimate.exit.macs,
        "params": estimate.exit.params,
        "latency_us": estimate.exit.cost.latency_us,
        "energy_uj": dict(price.exits[k]),
    }


def paths(plan: GatePlan, gated: Figures, ungated: Figures) -> list[dict[str, Any]]:
    """Return how samples could be routed, and what quality each way has; empty for a plan without exits.

    Ways that nobody would take in use are there to compare with: all through the light path, all through the heavy one
    (of this model, and of the codec trained without gates), and as many as the switch sends, drawn at random.

    Args:
        plan: the chosen one.
        gated: figures of its model on the test split.
        ungated: figures of the backbone trained without gates.
    """
    figures = gated.gated_summary()
    if "light_share" not in figures or not cut_gates(plan):
        return []
    share = figures["light_share"]
    return [
        {"name": "routed by the switch", "light_share": share, "quality": gated.value},
        {"name": "all heavy", "light_share": 0.0, "quality": figures["quality_all_heavy"]},
        {"name": "all light", "light_share": 1.0, "quality": figures["quality_all_light"]},
        {"name": "drawn by lot", "light_share": share, "quality": figures["quality_random"]},
        {"name": "trained without gates", "light_share": None, "quality": ungated.value},
    ]
