"""The goal of classification: cross entropy as the loss, accuracy as the quality."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gatesearch._lib.format import format_percent
from gatesearch.errors import UserError
from gatesearch.metrics import Quality, quality
from gatesearch.model import GatedModel
from gatesearch.training.calibration import calibrate
from gatesearch.training.cascade import observed_cascade, predictions
from gatesearch.training.features import FeatureSplit
from gatesearch.training.goals.base import Limits, Operation
from gatesearch.training.settings import Schedule


@dataclass(frozen=True)
class Classification:
    """The goal of classification: positives get their own class, and negatives are not reported.

    Args:
        positive: whether each class is a positive, [classes].
        kind_names: the names of the samples' kinds, "positive" first.
    """

    positive: Tensor
    kind_names: Sequence[str]
    name = "classification"
    quality = "accuracy"
    gate_targets = ("label", "network")

    @property
    def limits(self) -> Limits:
        """Limits on the drop of accuracy, on recall, and on gate recall."""
        return {
            "max_accuracy_drop": lambda figures, baseline, limit: baseline - limit - figures.accuracy,
            "min_recall": lambda figures, _, limit: limit - figures.recall,
            "min_gate_recall": lambda figures, _, limit: limit - figures.gate_recall,
        }

    def for_validation(self, split: FeatureSplit) -> Classification:
        """Return the goal itself, which holds no split."""
        return self

    def check(self, output: tuple[int, ...]) -> None:
        """Check that the output is one logit per class."""
        classes = len(self.positive)
        if output != (classes,):
            raise UserError(
                f"backbone: returns {[2, *output]} for 2 samples; gates need logits [2, {classes}], one a class"
            )

    def loss(self, output: Tensor, features: Tensor, labels: Tensor, schedule: Schedule) -> Tensor:
        """Return the cross entropy."""
        return F.cross_entropy(output, labels, label_smoothing=schedule.label_smoothing)

    def errors(self, output: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        """Return the cross entropy of each sample."""
        return F.cross_entropy(output, labels, reduction="none")

    def scores(self, output: Tensor, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return two numbers per sample, whose sums have the accuracy as their ratio.

        The first is 1 for a right answer, 0 for a wrong one; the second is 1.
        """
        right = (output.argmax(1) == labels).to(output.dtype)
        return right, torch.ones_like(right)

    def calibrate(
        self, model: GatedModel, split: FeatureSplit, positive: Tensor, operation: Operation | None = None
    ) -> str | None:
        """Set the gates' thresholds one after another, each on the samples that the gates before it let through."""
        calibrate(model, split, positive)
        return None

    def assess(self, model: GatedModel, split: FeatureSplit) -> Quality:
        """Return accuracy, precision, recall and the shares of samples that gates stop."""
        return assess(model, split, self.positive, self.kind_names)

    def excess_over_chance(self, model: GatedModel, split: FeatureSplit) -> float:
        """Return by how many standard errors the accuracy exceeds that of random answers, which ignore the input.

        In the random answers, each class is as frequent as in the model's own answers. Random answers are right with
        the probability p of Cohen's kappa (J. Cohen, "A coefficient of agreement for nominal scales", 1960). p is the
        sum over classes of the share of answers times the share of labels. Over N samples, the accuracy of random
        answers has the standard error sqrt(p (1 - p) / N). A model that always gives the same answer has an excess of
        0. A model that answers at random has an expected excess of 0, however rare positives are.
        """
        cascade, _ = observed_cascade(model, split.features)
        answers, nothing = predictions(cascade, model.answers), len(self.positive)
        reported = torch.where(self.positive[answers], answers, nothing)
        expected = torch.where(self.positive[split.labels], split.labels, nothing)
        shares = [torch.bincount(each, minlength=nothing + 1) / len(expected) for each in (reported, expected)]
        chance = float((shares[0] * shares[1]).sum())
        accuracy = float((reported == expected).double().mean())
        error = math.sqrt(max(chance * (1 - chance), 0.0) / len(expected))
        return (accuracy - chance) / error if error > 1e-9 else 0.0

    def manifest_entries(self, model: GatedModel) -> dict[str, Any]:
        """Return no entries: the manifest has the classes already."""
        return {}

    def summary_rows(self, ungated: Mapping[str, Any], gated: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """Return the rows of accuracy, precision and recall."""
        rows = {"accuracy (test, hard cascade)": "accuracy", "precision": "precision", "recall": "recall"}
        return [(label, format_percent(ungated[key]), format_percent(gated[key])) for label, key in rows.items()]


def assess(model: GatedModel, split: FeatureSplit, positive: Tensor, kind_names: Sequence[str]) -> Quality:
    """Return the figures of a model on the hard cascade, in which gates stop samples as on a device.

    See :func:`gatesearch.metrics.quality` for the arguments.
    """
    cascade, layers = observed_cascade(model, split.features)
    answers = predictions(cascade, model.answers)
    figures = quality(cascade.exit, answers, split.labels, positive, split.kinds, kind_names, len(model.gates))
    return replace(figures, layers=layers)
