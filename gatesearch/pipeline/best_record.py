"""Builds the entries on the best plan in a run's record: figures on the test split, costs and energy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gatesearch.cost.energy import front_end_bound, gain_end_to_end, gain_paper_style
from gatesearch.cost.model import CostModel
from gatesearch.cost.price import Price
from gatesearch.pipeline.opening_record import count_test_windows
from gatesearch.pipeline.result import RunOutputs
from gatesearch.pipeline.stream_prices import price_figures, price_ungated
from gatesearch.report.record import exits, gates, prevalence
from gatesearch.report.record import layers as layer_parts
from gatesearch.training import Figures


@dataclass(frozen=True)
class BestFigures:
    """Figures of the best plan and of the ungated backbone on the test split.

    Args:
        gated: figures of the best plan's model.
        ungated: figures of the ungated backbone.
        sparsity: the activation sparsity of each gate on positives.
        densities: share of non-zero values in the output of each gate.
        mean_sparsity: mean of the sparsity over the gates.
        price: the price of the plan.
        ungated_price: the price of the ungated backbone.
    """

    gated: Figures
    ungated: Figures
    sparsity: list[dict[str, float]]
    densities: list[float]
    mean_sparsity: float
    price: Price
    ungated_price: Price


def assess_best(outputs: RunOutputs) -> BestFigures:
    """Return the figures of the best plan and of the ungated backbone on the test split."""
    problem, cost, model = outputs.problem, outputs.cost, outputs.bundle.model
    test = problem.features.test
    gated, ungated = problem.goal.assess(model, test), problem.goal.assess(outputs.best.ungated, test)
    sparsity = gates.sparsity_of_gates(model, test.features[problem.features.positive[test.labels]])
    densities = [1.0 - row["element"] for row in sparsity]
    return BestFigures(
        gated=gated,
        ungated=ungated,
        sparsity=sparsity,
        densities=densities,
        mean_sparsity=sum(row["element"] for row in sparsity) / len(sparsity) if sparsity else 0.0,
        price=price_figures(cost, model.plan, gated, densities),
        ungated_price=price_ungated(cost, ungated),
    )


def describe_best(outputs: RunOutputs, figures: BestFigures, layers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the entry ``best`` of summary.json."""
    problem, cost, price = outputs.problem, outputs.cost, figures.price
    plan = outputs.bundle.model.plan
    gating = figures.gated.gated_summary()
    stop, stop_at_least = _stream_stop(outputs, figures, gating["early_stop_rate"])
    has_negatives = _has_negatives(cost)
    ungated_macs = problem.sites[0].macs_after if problem.hops is None else figures.ungated_price.expected_macs
    return {
        "digest": plan.digest,
        "plan": plan.to_dict(),
        **figures.gated.summary(),
        **gating,
        **exits.light_path_costs(plan, cost),
        "early_stop_rate_stream": stop,
        "early_stop_rate_stream_at_least": stop_at_least,
        "activation_sparsity": figures.mean_sparsity,
        "expected_macs": price.expected_macs,
        "expected_macs_with_frontend": price.expected_macs + (cost.by_hop or cost).frontend.macs,
        "macs_saving": ungated_macs / price.expected_macs if price.expected_macs else None,
        "layer_gates": layer_parts.gated_layers(layers),
        "layer_macs": layer_parts.total_macs(layers),
        "expected_latency_us": price.expected_latency_us,
        "expected_energy_uj": price.energy.total_uj,
        "utilisation": {"mean": dict(price.utilisation), "worst": dict(price.worst_utilisation)},
        "gain_end_to_end": gain_end_to_end(figures.ungated_price.energy.total_uj, price.energy.total_uj),
        "gain_paper_style": _idealised_gain(stop, figures.mean_sparsity),
        "gain_paper_style_at_least": _idealised_gain(stop_at_least, figures.mean_sparsity),
        "prevalence": prevalence.sweep_prevalences(
            cost,
            plan,
            figures.gated,
            figures.densities,
            figures.mean_sparsity,
            # On a stream of another prevalence, gates would open at other times. Those openings are not measured.
            problem.recipe.stream.prevalences if has_negatives and problem.features.test.stream is None else (),
        ),
    }


def _stream_stop(
    outputs: RunOutputs, figures: BestFigures, labelled_stop: float | None
) -> tuple[float | None, float | None]:
    """Return the share of the stream's negatives that the gates stop, and its lower confidence limit.

    Where the stream has no negatives, both are 0 for labelled data and None for data without labels.
    """
    cost, passed = outputs.cost, figures.gated.passed
    if not _has_negatives(cost):
        nothing = None if labelled_stop is None else 0.0
        return nothing, nothing
    counts = count_test_windows(outputs.problem)
    return prevalence.early_stop(cost.shares, passed), prevalence.early_stop_at_least(cost.shares, passed, counts)


def _has_negatives(cost: CostModel) -> bool:
    return any(share > 0 for kind, share in cost.shares.items() if kind != "positive")


def describe_energy(figures: BestFigures, best: Mapping[str, Any]) -> dict[str, Any]:
    """Return the energy of a window [uJ] by term and by core, for the best plan and for the ungated backbone."""
    gated, ungated = figures.price.energy, figures.ungated_price.energy
    return {
        "total_uj": gated.total_uj,
        "by_term": dict(gated.by_term),
        "by_core": dict(gated.by_core),
        "ungated_total_uj": ungated.total_uj,
        "ungated_by_term": dict(ungated.by_term),
        "ungated_by_core": dict(ungated.by_core),
        "gain_end_to_end": best["gain_end_to_end"],
        "gain_paper_style": best["gain_paper_style"],
        "bound": prevalence.finite_or_none(front_end_bound(ungated.share(*_fixed_terms(figures)))),
    }


def _fixed_terms(figures: BestFigures) -> list[str]:
    """Return the terms of the energy that the plan cannot reduce.

    The front end is one of these terms, unless a gate on the signal saves work of the front end.
    """
    gated, ungated = figures.price.energy.by_term, figures.ungated_price.energy.by_term
    return [term for term in prevalence.FIXED_TERMS if term != "frontend" or gated[term] >= ungated[term]]


def _idealised_gain(early_stop: float | None, sparsity: float) -> float | None:
    return None if early_stop is None else prevalence.finite_or_none(gain_paper_style(early_stop, sparsity))
