"""The quality of a classifier with gates: accuracy, precision, recall, and shares that gates stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_stat_scores

from gatesearch.metrics.checks import check_indices, check_lengths
from gatesearch.metrics.routes import describe_stops, reach_by_kind, share

# Names of the figures that need labels, as in summary.json.
LABELLED_FIGURES = ("accuracy", "accuracy_all_classes", "precision", "recall")


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures of one model on one split.

    Args:
        accuracy: share of right answers. A positive is right if its own class is reported. A negative is right if no
            positive is reported, because a gate stopped it or the last stage predicted a negative class. The ungated
            backbone is scored in the same way.
        accuracy_all_classes: share of samples with exactly the right class, among positives and negatives. The class
            of a stopped sample is the negative class that its gate answers with.
        precision: share of reported positives that are right.
        recall: share of positives that are reported with their own class.
        gate_recall: share of positives that pass every gate (GR).
        early_stop_rate: share of negatives that a gate stops (ES); each sample of the split counts once.
        gate_recalls: for each gate k, the share of positives that pass it, among those that reach it (GR_k).
        passed: for each kind of sample, the shares that reach stages 0, 1, 2 and so on; the first entry is 1.
        layers: the report of each layer gate over the samples that reached it, by site.
    """

    accuracy: float
    accuracy_all_classes: float
    precision: float
    recall: float
    gate_recall: float
    early_stop_rate: float
    gate_recalls: tuple[float, ...]
    passed: Mapping[str, tuple[float, ...]]
    layers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The accuracy."""
        return self.accuracy

    def summary(self) -> dict[str, Any]:
        """Return the figures, named as in summary.json."""
        return {name: getattr(self, name) for name in LABELLED_FIGURES}

    def gated_summary(self) -> dict[str, Any]:
        """Return the figures of the model's gates, named as in summary.json."""
        return describe_stops(self.passed, self.early_stop_rate, self.gate_recall)


def quality(
    exits: Tensor,
    predictions: Tensor,
    labels: Tensor,
    positive: Tensor,
    kinds: Tensor,
    kind_names: Sequence[str],
    gates: int,
) -> Quality:
    """Return the figures of a cascade or an exported bundle from its exits and predictions.

    Args:
        exits: index of the gate that stopped each sample, or ``gates`` if none did, [N].
        predictions: class reported for each sample, [N]; for a stopped sample, the answer of its gate.
        labels: true class of each sample, [N].
        positive: whether each class is a positive, [classes].
        kinds: index into ``kind_names`` of every sample, [N]; 0 is positive.
        kind_names: names of the kinds of samples: the positives together, then each negative class.
        gates: number of gates.

    Raises:
        DataError: there are no samples, lengths differ, or an index is out of range.

    >>> yes, no, noise = 0, 1, 2
    >>> q = quality(torch.tensor([1, 1, 0, 0, 1]), torch.tensor([yes, yes, noise, noise, noise]),
    ...             torch.tensor([yes, no, no, noise, noise]), torch.tensor([True, True, False]),
    ...             torch.tensor([0, 0, 0, 1, 1]), ["positive", "noise"], gates=1)
    >>> q.accuracy, q.recall, q.precision, round(q.gate_recall, 3), q.early_stop_rate
    (0.6, 0.3333333333333333, 0.5, 0.667, 0.5)
    """
    check_lengths("quality", exits=exits, predictions=predictions, labels=labels, kinds=kinds)
    check_indices("exits", exits, gates + 1)
    check_indices("predictions", predictions, len(positive))
    check_indices("labels", labels, len(positive))
    check_indices("kinds", kinds, len(kind_names))
    # All negatives count as one class, "nothing". A sample that a gate stopped is reported as "nothing".
    nothing = len(positive)
    is_positive = positive[labels]
    reported = torch.where(positive[predictions] & (exits == gates), predictions, nothing)
    expected = torch.where(is_positive, labels, nothing)
    counts = multiclass_stat_scores(reported, expected, nothing + 1, average=None, validate_args=False)
    # The columns, by class: true positives, false positives, true negatives, false negatives, support.
    right, wrong, _, missed, _ = counts.T
    right_positives = int(right[:nothing].sum())
    passed = reach_by_kind(exits, kinds, kind_names, gates)
    reach = passed[kind_names[0]]
    return Quality(
        accuracy=_ratio(int(right.sum()), len(labels)),
        accuracy_all_classes=share(predictions == labels),
        precision=_ratio(right_positives, right_positives + int(wrong[:nothing].sum())),
        recall=_ratio(right_positives, right_positives + int(missed[:nothing].sum())),
        gate_recall=reach[-1],
        early_stop_rate=share(exits[~is_positive] < gates),
        gate_recalls=tuple(_ratio(after, before) for before, after in pairwise(reach)),
        passed=passed,
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
