"""Recipe keys for the training of the baseline, of gates and of the picked plan."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gatesearch.recipe.schema.group import Group
from gatesearch.recipe.schema.values import (
    Count,
    CountOrAuto,
    NonNegative,
    Positive,
    Share,
    ShareBelowOne,
)


class Training(Group):
    """The training of the baseline; other trainings use these values where they set none of their own."""

    epochs: Count = Field(
        default=40, description="Passes over the training split; more epochs raise quality and take longer."
    )
    batch_size: Count = Field(default=100, description="Windows in each training step.")
    learning_rate: Positive = Field(
        default=0.002, description="Largest learning rate: a rate too high diverges, one too low needs more epochs."
    )
    weight_decay: NonNegative = Field(
        default=0.001, description="Strength with which weights are pulled towards 0, against overfitting."
    )
    label_smoothing: ShareBelowOne = Field(
        default=0.1, description="Share of a label that is spread over all classes, against overconfidence."
    )
    warmup: Share = Field(default=0.1, description="Share of the steps in which the learning rate rises from 0.")
    averaging: ShareBelowOne = Field(
        default=0.99,
        description="Decay per step of the moving average of the weights; the training returns this average, or the "
        "last weights if the decay is 0. A training of fewer than 10 / (1 - decay) steps averages over a tenth of its "
        "steps.",
    )
    hard_negatives: ShareBelowOne = Field(
        default=0.0,
        description="Streams only: share of hard negatives among the negative windows of an epoch. Hard negatives are "
        "windows that the network takes for events. The baseline finds them halfway through its training; later "
        "trainings begin with the baseline's, and find their own halfway if they have 4 epochs. 0 finds none.",
    )

    def updated(self, step: Group) -> Training:
        """Return this training with the keys that another step sets, such as ``recipe.retrain``.

        >>> Training().updated(Retrain(epochs=3)).epochs
        3
        """
        values = {key: getattr(step, key, None) for key in Training.model_fields}
        return self.model_copy(update={key: value for key, value in values.items() if value is not None})


class Gates(Group):
    """Settings of the training of gates, for all gate kinds."""

    learning_rate_scale: Positive = Field(
        default=25.0, description="Factor on the learning rate of masks and thresholds, which move far in few steps."
    )
    head_learning_rate_scale: Positive = Field(
        default=10.0,
        description="Factor on the learning rate of heads and light paths, which start untrained behind a trained "
        "backbone.",
    )
    alpha: NonNegative = Field(
        default=1.0, description="Weight of the gate loss, which teaches a gate to tell the classes apart."
    )
    beta: NonNegative = Field(
        default=0.01, description="Weight of the compression loss: a larger one saves more work and costs quality."
    )
    distillation: NonNegative = Field(
        default=0.1,
        description="Gates with an exit only: weight of the loss that pulls an exit's output towards the whole "
        "network's.",
    )
    target: Literal["label", "network"] | None = Field(
        default=None,
        description="Windows that a gate learns to pass. label: windows with an event or of a positive class. network: "
        "windows that the network behind the gate would accept. null means network for goal detection, and label for "
        "other goals.",
    )


class Retrain(Group):
    """The training of the picked plan: ``training`` with these keys; null takes the value of ``training``."""

    epochs: Count | None = Field(default=None, description="Passes over the training split; null as in training.")
    batch_size: CountOrAuto = Field(
        default=None,
        description="Windows in each training step; auto takes the size that `gatesearch scaling` measured for the "
        "recipe and does not change the learning rate; null as in training.",
    )
    learning_rate: Positive | None = Field(default=None, description="Largest learning rate; null as in training.")
    weight_decay: NonNegative | None = Field(
        default=None, description="Strength with which weights are pulled towards 0; null as in training."
    )
    label_smoothing: ShareBelowOne | None = Field(
        default=None, description="Share of a label that is spread over all classes; null as in training."
    )
    warmup: Share | None = Field(
        default=None, description="Share of the steps in which the learning rate rises; null as in training."
    )
    averaging: ShareBelowOne | None = Field(
        default=None, description="Decay per step of the moving average of the weights; null as in training."
    )
