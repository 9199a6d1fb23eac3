"""The part of a run's record that describes layer gates: the work and the kernel time that remain with each gate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gatesearch.cost.layers import DENSE, LayerChange, layer_changes
from gatesearch.gates import Call, kind_of, layer_gates

if TYPE_CHECKING:
    from gatesearch.cost.model import CostModel
    from gatesearch.devices.profile import Kernels
    from gatesearch.plan import GatePlan, PlacedGate

DENSE_CALLS = (Call((8, 8)),)  # the one call of a layer without a gate, with 8-bit operands


def layer_rows(plan: GatePlan, cost: CostModel, observed: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Return a row for each layer whose cost differs from that of the dense layer.

    Such a layer has a gate, or reads the output of a gate that suppresses channels.

    MACs (multiply-accumulates) are those of a sample that reaches the layer; a multiplication by an activation of b
    bits counts b / 8. ``kernels.share`` is the layer's time on the core of its stage, divided by the time of the dense
    int8 layer. Work that the core cannot skip counts fully in the layer's time.

    Args:
        plan: the plan, with a core for every stage.
        cost: the cost model of the plan's device.
        observed: for each site, the report of its gate.
    """
    placed = {gate.site: gate for gate in layer_gates(plan)}
    rows = []
    for name, change in layer_changes(list(placed.values()), cost.layers, observed).items():
        stage = cost.stage_of(plan, name)
        core = cost.device.core(plan.cores[stage])
        where = {"block": cost.table.layers[name].block, "stage": stage, "core": core.name}
        rows.append(_layer_row(change, placed.get(name), core.gate_kernels, observed.get(name, {})) | where)
    return rows


def gated_layers(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the site and the kind of each gated layer, and the main figures that its gate reports."""
    gated = []
    for row in rows:
        if row["kind"] is not None:
            names = [figure.name for figure in kind_of(row["kind"]).figures if figure.headline]
            figures = {name: row["report"][name] for name in names if name in row["report"]}
            gated.append({"site": row["site"], "kind": row["kind"], **figures})
    return gated


def figure_headings(kinds: Iterable[str]) -> dict[str, str]:
    """Return the column headings of the figures that the report shows for gates of these kinds, by figure name."""
    return {figure.name: figure.meaning for kind in kinds for figure in kind_of(kind).figures if figure.meaning}


def total_macs(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the sums of MACs over all rows: ``dense`` without gates, ``left`` with gates."""
    return {"dense": sum(row["macs"] for row in rows), "left": sum(row["macs_left"] for row in rows)}


def _layer_row(
    change: LayerChange, gate: PlacedGate | None, kernels: Kernels, observed: Mapping[str, float]
) -> dict[str, Any]:
    """Return the entry of one layer in the record: its gate, the work that remains, and the share of its time."""
    site, work = change.site, change.work or DENSE
    calls = work.calls or DENSE_CALLS
    names = dict.fromkeys(
        name for name, _ in [*change.remaining_inputs, *(part for call in calls for part in call.remaining)]
    )
    left = site.macs + change.macs_change
    return {
        "site": site.name,
        "op": site.op,
        "shape": list(site.shape),
        "kind": None if gate is None else gate.kind,
        "params": {} if gate is None else dict(gate.params),
        "report": dict(observed),
        "read": change.input_share,
        "calls": [
            {
                "bits": list(call.bits),
                "left": [list(part) for part in call.remaining],
                "share": call.share,
                "macs": site.macs * change.input_share * call.share * call.bits[0] / 8,
            }
            for call in calls
        ],
        "density": work.density,
        "gate_macs": work.macs,
        "gate_params": work.params,
        "macs": site.macs,
        "macs_left": left,
        "share": left / site.macs,
        "kernels": {
            "bits": kernels.bits,
            "skipped": [name for name in names if name in kernels.skips],
            "not_skipped": [name for name in names if name not in kernels.skips],
            "share": change.cost(kernels),
            "provenance": kernels.provenance,
            "source": kernels.source,
        },
    }
