"""What a gated model gains where positives are rarer than in the recipe's stream.

The gates stay as they are; only the stream changes: a share of positives, and the kinds of negatives mixed as the
recipe mixes them. Gains are end to end, all terms of the device's energy counted, which sensor, front end and idle
power bound; and idealised, as papers compute them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from scipy.stats import beta

from gatesearch.cost.energy import at_prevalence, front_end_bound, gain_end_to_end, gain_paper_style
from gatesearch.cost.model import CostModel
from gatesearch.plan import GatePlan
from gatesearch.training import Figures

CONFIDENCE = 0.95
FIXED = ("sense", "frontend", "idle")  # what no gate saves


def sweep(
    cost: CostModel,
    plan: GatePlan,
    quality: Figures,
    densities: Sequence[float],
    sparsity: float,
    prevalences: Sequence[float],
) -> list[dict[str, float | None]]:
    """Price a plan at several prevalences of positives.

    Args:
        cost: prices on the recipe's device and stream.
        plan: the picked one.
        quality: what its gates did on the test split.
        densities: share of non-zero values behind each gate.
        sparsity: share of zeros of what passes, over positives, AS.
        prevalences: shares of positives, in (0, 1].

    Returns:
        For each prevalence ``prevalence``, ``reach`` (share of windows that come to the last stage),
        ``expected_macs``, ``expected_energy_uj``, ``gain_end_to_end``, the ``bound`` of any gate's gain, and
        ``gain_idealised``: 1/(R (1 - AS)), as if nothing cost but what is handed to the last stage. None for infinite.
    """
    rows: list[dict[str, float | None]] = []
    for prevalence in prevalences:
        there = cost.at_prevalence(prevalence)
        price, rival = there.price(plan, quality.passed, densities, quality.layers), there.ungated()[1]
        rows.append(
            {
                "prevalence": prevalence,
                "reach": price.reach[-1],
                "expected_macs": price.expected_macs,
                "expected_energy_uj": price.energy.total_uj,
                "gain_end_to_end": gain_end_to_end(rival.energy.total_uj, price.energy.total_uj),
                "bound": _finite(front_end_bound(rival.energy.share(*FIXED))),
                "gain_idealised": _finite(gain_paper_style(1 - price.reach[-1], sparsity)),
            }
        )
    return rows


def early_stop(shares: Mapping[str, float], passed: Mapping[str, Sequence[float]]) -> float:
    """Return the share of the stream's negatives that some gate stops, each kind by its share.

    >>> early_stop({"positive": 0.5, "silence": 0.4, "unknown": 0.1}, {"silence": [1.0, 0.0], "unknown": [1.0, 0.5]})
    0.9
    """
    mixed = at_prevalence(shares, 0.0)
    return 1 - math.fsum(share * passed[kind][-1] for kind, share in mixed.items() if share)


def early_stop_at_least(
    shares: Mapping[str, float], passed: Mapping[str, Sequence[float]], counts: Mapping[str, int]
) -> float:
    """Return :func:`early_stop` with every kind at its lower confidence limit (Clopper and Pearson 1934).

    A hundred test samples of which none passes do not show that none ever will.

    Args:
        shares: of the stream.
        passed: for each kind, the share that reaches each stage.
        counts: test samples of each kind.

    >>> round(early_stop_at_least({"positive": 0.1, "silence": 0.9}, {"silence": [1.0, 0.0]}, {"silence": 100}), 3)
    0.97
    """
    return early_stop(shares, {kind: [_most(row[-1], counts[kind])] for kind, row in passed.items() if kind in counts})


def _most(share: float, count: int) -> float:
    """Return the largest rate at which no more than the seen share is still to be expected."""
    hits = round(share * count)
    return 1.0 if hits >= count else float(beta.ppf(CONFIDENCE, hits + 1, count - hits))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
