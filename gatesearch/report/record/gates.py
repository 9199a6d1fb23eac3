"""The part of a run's record that describes the stages of the picked plan and the gates between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gatesearch._lib.tensors import channels_last
from gatesearch.cost.model import CostModel
from gatesearch.cost.price import Price
from gatesearch.devices.profile import list_clock_points
from gatesearch.gates import cut_gates, params_of, work_of
from gatesearch.gates.modules import activation_sparsity
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan
from gatesearch.report.record import exits
from gatesearch.training import FeatureSplit, Figures, gate_logits

ROC_POINTS = 101


def stage_rows(
    cost: CostModel, plan: GatePlan, price: Price, figures: Figures, densities: Sequence[float]
) -> list[dict[str, Any]]:
    """Return a row for each stage: core, clock, work, share of windows that reaches it, latency and energy.

    The clock is None for a core with a single one.

    Args:
        cost: the cost model of the plan's device.
        plan: the picked plan.
        price: the price of the plan.
        figures: the figures of the plan on the test split.
        densities: share of non-zero values in the output of each gate.
    """
    clocks = list_clock_points(cost.device, plan.clocks)
    return [
        {
            "index": k,
            "core": estimate.cost.core,
            "clock": clocks.get(estimate.cost.core),
            "first_site": estimate.first_site,
            "last_site": estimate.last_site,
            "macs": estimate.macs,
            "weight_bytes": estimate.flash_bytes,
            "reach": {"stream": price.reach[k], **{kind: row[k] for kind, row in figures.passed.items()}},
            "latency_us": estimate.cost.latency_us,
            "latency_provenance": estimate.provenance,
            "energy_uj": dict(price.energy.by_stage[k]),
            "exit": exits.exit_row(estimate, price, k),
        }
        for k, estimate in enumerate(cost.stages(plan, densities, figures.layers))
    ]


def gate_rows(
    model: GatedModel,
    figures: Figures,
    sparsity: Sequence[dict[str, float]],
    test: FeatureSplit,
    kind_names: Sequence[str],
) -> list[dict[str, Any]]:
    """Return a row for each gate between stages: threshold, share of each kind of negative that it stops, ROC curves.

    Args:
        model: the model of the picked plan, calibrated.
        figures: the figures of the model on the test split.
        sparsity: the activation sparsity of each gate on positives, from :func:`sparsity_of_gates`.
        test: the test split.
        kind_names: the kinds of the test samples, "positive" first.
    """
    logits = gate_logits(model, test.features)
    present = (test.kinds if test.stream is None else test.stream.kinds).unique().tolist()
    absent = {kind for k, kind in enumerate(kind_names) if k not in present}
    rows = []
    for k, placed in enumerate(cut_gates(model.plan)):
        stops = {
            kind: None if kind in absent else 1 - (row[k + 1] / row[k] if row[k] else 0.0)
            for kind, row in figures.passed.items()
            if kind != "positive"
        }
        rows.append(
            {
                "index": k,
                "site": placed.site,
                "kind": placed.kind,
                "kept_channels": work_of(model.sites[k], placed).kept_channels,
                "theta": float(model.gate(k).theta),
                "recall_target": params_of(model.sites[k], placed).calibration().get("recall"),
                "gate_recall": figures.gate_recalls[k] if figures.gate_recalls else None,
                "early_stop": stops,
                "activation_sparsity": sparsity[k],
                "roc": roc_curves(logits[:, k], test.kinds, kind_names),
            }
        )
    return rows


@torch.no_grad()
def sparsity_of_gates(model: GatedModel, positives: Tensor) -> list[dict[str, float]]:
    """Return the activation sparsity of the values that each gate passes for the positives [N, *shape]."""
    hidden, rows = channels_last(positives), []
    for k, stage in enumerate(model.stages):
        hidden = stage(hidden)
        if k < len(model.gates):
            passed = model.gate(k)(hidden).passed
            rows.append(activation_sparsity(passed, hidden, model.sites[k].channel_axis))
            hidden = passed
    return rows


def roc_curves(logits: Tensor, kinds: Tensor, kind_names: Sequence[str]) -> dict[str, dict[str, list[float]]]:
    """Return the receiver operating characteristic (ROC) of a gate for each kind of negative.

    A curve holds, for each of many thresholds, the share of positives that pass and the share of the negatives that
    the threshold stops.

    Args:
        logits: the logits of the gate [N].
        kinds: the kind of each sample as an index into ``kind_names``, where 0 is positive, [N].
        kind_names: names of the kinds.
    """
    recalls = (
        torch.linspace(0.0, 1.0, ROC_POINTS, dtype=torch.float64) ** 0.5
    )  # denser at high recall, where gates work
    positives = logits[kinds == 0].double()
    thresholds = torch.quantile(positives, 1 - recalls)
    curves = {}
    for index, name in enumerate(kind_names):
        if index and bool((kinds == index).any()):
            stopped = (logits[kinds == index].double()[None] < thresholds[:, None]).double().mean(1)
            curves[name] = {"recall": recalls.tolist(), "stopped": stopped.tolist()}
    return curves
