"""Calibration: sets the thresholds and default answers of gates on held-out data."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gatesearch._lib.tensors import digest_tensors
from gatesearch.errors import UserError
from gatesearch.gates.thresholds import check_logits
from gatesearch.metrics import Quality, quality
from gatesearch.model import GatedModel
from gatesearch.training.cascade import gate_logits
from gatesearch.training.features import FeatureSplit


def calibrate(model: GatedModel, split: FeatureSplit, positive: Tensor) -> None:
    """Set every gate's threshold from the samples that the gates before it let through.

    Also set every gate's default answer: the class that the model reports for a sample that the gate stops.

    Args:
        model: the gated model; changed in place.
        split: the validation split.
        positive: whether each class is a positive, [classes].
    """
    calibrate_from_logits(model, gate_logits(model, split.features), split.labels, positive)


def calibrate_from_logits(model: GatedModel, logits: Tensor, labels: Tensor, positive: Tensor) -> Tensor:
    """Calibrate the model in place from the gates' logits [N, gates].

    Each gate sets its threshold from the logits of the samples that reach it, for example at its target recall. Gates
    are calibrated in cascade order, because earlier gates decide which samples reach later ones. A gate that no sample
    reaches lets all samples pass.

    Returns:
        For each sample, the index of the gate that stops it, or the number of gates if none does, [N].

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
        else:  # without samples, a threshold cannot be chosen
            gate.theta.fill_(-math.inf)
        if bool(gate.theta.isnan()):
            raise UserError(
                f"calibration: {type(gate).__name__}.calibrate set theta of gate {k + 1} to {float(gate.theta)}"
            )
        stopped_at[reached & (logits[:, k] <= gate.theta)] = k
        model.answers[k] = default_answer(labels[stopped_at == k], labels[reached], positive)
    return stopped_at


def default_answer(stopped: Tensor, reached: Tensor, positive: Tensor) -> int:
    """Return a gate's answer for stopped samples: the negative class with the largest share of stopped samples.

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
    """Set a model's thresholds and answers, and return its quality on the hard cascade, where gates stop samples.

    The model does not run, because the caller passes the logits and predictions of all samples.

    Args:
        model: the gated model; its thresholds and answers are set in place.
        logits: logit of every gate for every sample, as if no gate stopped samples, [N, gates].
        predictions: class that the last stage predicts for every sample, as if no gate stopped samples, [N].
        split: labels and kinds of these samples.
        positive: whether each class is a positive, [classes].
        kind_names: names of the kinds of samples: "positive", then the kinds of negatives, such as silence or unknown
            words. ``split.kinds`` holds indices into these names. The figures list the share of each kind that reaches
            each gate.
    """
    gate_count = logits.shape[1]
    stopped_at = calibrate_from_logits(model, logits, split.labels, positive)
    stopped = stopped_at < gate_count
    answers = predictions.clone()
    answers[stopped] = model.answers[stopped_at[stopped]]
    return quality(stopped_at, answers, split.labels, positive, split.kinds, kind_names, gate_count)


def digest_weights(model: GatedModel) -> str:
    """Return a digest of a model's weights and statistics; what calibration sets does not change it."""
    weights = model.state_dict().items()
    return digest_tensors((name, v) for name, v in weights if name != "answers" and name.rpartition(".")[2] != "theta")
