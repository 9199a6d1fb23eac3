"""Calibration of gate thresholds on held-out data."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gatesearch.errors import UserError
from gatesearch.gates.thresholds import check_logits
from gatesearch.metrics import Quality, quality
from gatesearch.model import GatedModel
from gatesearch.training.cascade import gate_logits
from gatesearch.training.features import FeatureSplit


def calibrate(model: GatedModel, split: FeatureSplit, positive: Tensor) -> None:
    """Set every gate's threshold, on the samples that the gates before it let through.

    Also set every gate's default answer: the class that the model reports for a sample that the gate stops.

    Args:
        model: changed in place.
        split: the validation split.
        positive: whether each class is a positive, [classes].
    """
    calibrate_from_logits(model, gate_logits(model, split.features), split.labels, positive)


def calibrate_from_logits(model: GatedModel, logits: Tensor, labels: Tensor, positive: Tensor) -> Tensor:
    """Calibrate the model in place from the gates' logits [N, gates].

    A gate's threshold is a quantile of the logits that reach it: for a gate with a target recall, the highest threshold
    that keeps the target recall. Gates are calibrated in cascade order, because earlier gates decide which samples
    reach later ones. A gate that no sample reaches passes all.

    Returns:
        The index of the gate that stops each sample, the number of gates where none does, [N].

    Raises:
        UserError: a logit or a threshold is not finite; a gate whose threshold is NaN would stop every sample.
    """
    stopped_at = torch.full((len(labels),), len(model.cut_gates))
    is_positive = positive[labels]
    for k, gate in enumerate(model.cut_gates):
        reached = stopped_at > k
        check_logits(logits[reached, k])
        if bool(reached.any()):
            gate.calibrate(logits[reached, k], is_positive[reached])
        else:  # nothing says where a threshold should be
            gate.theta.fill_(-math.inf)
        if bool(gate.theta.isnan()):
            raise UserError(
                f"calibration: {type(gate).__name__}.calibrate set theta of gate {k + 1} to {float(gate.theta)}"
            )
        stopped_at[reached & (logits[:, k] <= gate.theta)] = k
        model.answers[k] = default_answer(labels[stopped_at == k], labels[reached], positive)
    return stopped_at


def default_answer(stopped: Tensor, reached: Tensor, positive: Tensor) -> int:
    """Return the negative class of which a gate stops the largest share (used as the answer for stopped samples).

    Args:
        stopped: labels of the samples that the gate stops.
        reached: labels of the samples that reach the gate.
        positive: whether each class is a positive, [classes].
    """
    counts = torch.bincount(reached, minlength=len(positive)).clamp(min=1)
    shares = torch.bincount(stopped, minlength=len(positive)) / counts
    shares[positive] = -1.0
    return int(shares.argmax())


def calibrate_and_score(
    model: GatedModel,
    logits: Tensor,
    predictions: Tensor,
    split: FeatureSplit,
    positive: Tensor,
    kind_names: Sequence[str],
) -> Quality:
    """Set thresholds and return hard-cascade figures, given logits and predictions computed for all samples.

    Args:
        model: its thresholds and answers are set.
        logits: the logits of every gate for every sample, none stopped, [N, gates].
        predictions: the class that the last stage predicts for every sample, none stopped, [N].
        split: the labels and kinds of these samples.
        positive: whether each class is a positive, [classes].
        kind_names: names of the kinds of samples: "positive", then one for each class of negatives (such as silence or
            unknown words). ``split.kinds`` indexes them, and the figures list by kind which share reaches each gate.
    """
    gate_count = logits.shape[1]
    stopped_at = calibrate_from_logits(model, logits, split.labels, positive)
    stopped = stopped_at < gate_count
    answers = predictions.clone()
    answers[stopped] = model.answers[stopped_at[stopped]]
    return quality(stopped_at, answers, split.labels, positive, split.kinds, kind_names, gate_count)
