"""Thresholds of gates, set on held-out data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gatesearch.metrics import Quality, quality
from gatesearch.model import GatedModel
from gatesearch.training.cascade import gate_logits
from gatesearch.training.features import FeatureSplit


def calibrate(model: GatedModel, split: FeatureSplit, positive: Tensor) -> None:
    """Set every threshold on held-out data, gate by gate, each on the samples that the gates before it let through.

    Also sets for each gate the negative class that it mostly stops, which is the answer for a stopped sample.

    Args:
        model: changed in place.
        split: the validation split.
        positive: whether each class is a positive, [classes].
    """
    set_thresholds(model, gate_logits(model, split.features), split.labels, positive)


def set_thresholds(model: GatedModel, logits: Tensor, labels: Tensor, positive: Tensor) -> Tensor:
    """Calibrate from the gates' logits [N, gates]; return the gate at which each sample leaves, [N].

    A gate's threshold is a quantile of the logits that reach it: a gate with a target recall puts it where that share
    of the positives lies above. The gates before it decide who reaches it, so the order is theirs.
    """
    exits = torch.full((len(labels),), len(model.cut_gates))
    is_positive = positive[labels]
    for k, gate in enumerate(model.cut_gates):
        reached = exits > k
        gate.calibrate(logits[reached, k], is_positive[reached])
        exits[reached & (logits[:, k] <= gate.theta)] = k
        model.answers[k] = most_stopped(labels[exits == k], labels[reached], positive)
    return exits


def most_stopped(stopped: Tensor, reached: Tensor, positive: Tensor) -> int:
    """Return the negative class of which a gate stops the largest share.

    Args:
        stopped: labels of the samples that it stops.
        reached: labels of the samples that reach it.
        positive: whether each class is a positive, [classes].
    """
    counts = torch.bincount(reached, minlength=len(positive)).clamp(min=1)
    shares = torch.bincount(stopped, minlength=len(positive)) / counts
    shares[positive] = -1.0
    return int(shares.argmax())


def calibrated_quality(
    model: GatedModel,
    logits: Tensor,
    predictions: Tensor,
    split: FeatureSplit,
    positive: Tensor,
    kind_names: Sequence[str],
) -> Quality:
    """Set thresholds and return the figures that follow, from what was computed of every sample, nothing stopped.

    Args:
        model: its thresholds and answers are set.
        logits: of every gate, [N, gates].
        predictions: the class that the last stage gives, [N].
        split: whose samples these are.
        positive: whether each class is a positive, [classes].
        kind_names: names of the kinds.
    """
    gates = logits.shape[1]
    exits = set_thresholds(model, logits, split.labels, positive)
    stopped = exits < gates
    answers = predictions.clone()
    answers[stopped] = model.answers[exits[stopped]]
    return quality(exits, answers, split.labels, positive, split.kinds, kind_names, gates)
