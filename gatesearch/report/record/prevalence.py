"""Prices of the best plan at several prevalences of positives, for the record of a run.

Only the share of positives in the stream changes; the mix of negatives stays as in the recipe. The end-to-end gain
counts all terms of the device's energy, so sensor, front end and idle power limit it. The idealised gain follows the
formula of papers on gated networks, which counts only values that enter the last stage.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from scipy.stats import beta

from gatesearch.cost.energy import front_end_bound, gain_end_to_end, gain_paper_style
from gatesearch.cost.model import CostModel
from gatesearch.cost.stream_shares import shift_prevalence
from gatesearch.plan import GatePlan
from gatesearch.training import Figures

CONFIDENCE = 0.95
FIXED_TERMS = ("sense", "frontend", "idle")  # terms of the energy that gates between stages do not reduce


def sweep_prevalences(
    cost: CostModel,
    plan: GatePlan,
    quality: Figures,
    densities: Sequence[float],
    sparsity: float,
    prevalences: Sequence[float],
) -> list[dict[str, float | None]]:
    """Price a plan at several prevalences of positives.

    Args:
        cost: the cost model of the recipe's device and stream.
        plan: the best plan.
        quality: figures of its model on the test split.
        densities: share of non-zero values in the output of each gate.
        sparsity: AS, the share of zeros in the values that gates pass for positives.
        prevalences: shares of positives, in (0, 1].

    Returns:
        A row for each prevalence, with the price and the gains. ``reach`` is R, the share of windows that reaches the
        last stage. ``bound`` is the largest ``gain_end_to_end`` that any gates could reach. ``gain_idealised`` is
        1/(R (1 - AS)), as if only the values that enter the last stage had a cost. An infinite gain is None.
    """
    rows: list[dict[str, float | None]] = []
    for prevalence in prevalences:
        shifted_cost = cost.shift_prevalence(prevalence)
        price = shifted_cost.price(plan, quality.passed, densities, quality.layers)
        ungated = shifted_cost.ungated()[1]
        rows.append(
            {
                "prevalence": prevalence,
                "reach": price.reach[-1],
                "expected_macs": price.expected_macs,
                "expected_energy_uj": price.energy.total_uj,
                "gain_end_to_end": gain_end_to_end(ungated.energy.total_uj, price.energy.total_uj),
                "bound": finite_or_none(front_end_bound(ungated.energy.share(*FIXED_TERMS))),
                "gain_idealised": finite_or_none(gain_paper_style(1 - price.reach[-1], sparsity)),
            }
        )
    return rows


def early_stop(shares: Mapping[str, float], passed: Mapping[str, Sequence[float]]) -> float:
    """Return the early-stop rate of the stream, in which each kind of negative counts by its share.

    >>> early_stop({"positive": 0.5, "silence": 0.4, "unknown": 0.1}, {"silence": [1.0, 0.0], "unknown": [1.0, 0.5]})
    0.9
    """
    mixed = shift_prevalence(shares, 0.0)
    return 1 - math.fsum(share * passed[kind][-1] for kind, share in mixed.items() if share)


def early_stop_at_least(
    shares: Mapping[str, float], passed: Mapping[str, Sequence[float]], counts: Mapping[str, int]
) -> float:
    """Return :func:`early_stop` with the lower confidence limit of each kind's rate (Clopper and Pearson 1934).

    Even if a hundred test samples all stop, a later sample may pass.

    Args:
        shares: share of each kind in the stream.
        passed: for each kind, the share that reaches each stage.
        counts: test samples of each kind.

    >>> round(early_stop_at_least({"positive": 0.1, "silence": 0.9}, {"silence": [1.0, 0.0]}, {"silence": 100}), 3)
    0.97
    """
    # Without a sample of a kind, its rate may be anything up to 1.
    limits = {
        kind: [_upper_limit(row[-1], counts[kind]) if counts[kind] else 1.0]
        for kind, row in passed.items()
        if kind in counts
    }
    return early_stop(shares, limits)


def _upper_limit(share: float, count: int) -> float:
    """Return the upper confidence limit of a rate from the share observed among ``count`` samples.

    The one-sided limit of Clopper and Pearson (1934) is the rate p at which ``hits`` or fewer have probability
    1 - CONFIDENCE. The binomial tail P(X <= hits) equals 1 - I_p(hits + 1, count - hits), where I is the regularised
    incomplete beta function. So p is a quantile of the beta distribution.
    """
    hits = round(share * count)
    return 1.0 if hits >= count else float(beta.ppf(CONFIDENCE, hits + 1, count - hits))


def finite_or_none(value: float) -> float | None:
    """Return the value, or None if it is infinite, because JSON cannot hold infinity."""
    return value if math.isfinite(value) else None
