"""Settings of a training as plain values, which a recipe, a test or a caller of the API can set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Schedule:
    """The length, the learning rate and the regularisation of one training.

    Args:
        epochs: number of passes over the training split.
        batch_size: number of samples per step.
        learning_rate: peak of AdamW's learning rate, which rises to the peak and then falls to zero along half a
            cosine.
        weight_decay: weight decay of the weights. The backbone's biases, and masks and thresholds of gates, have none.
        label_smoothing: label smoothing of the cross entropy, in [0, 1).
        warmup: share of the steps in which the learning rate rises.
        averaging: decay d of the exponential moving average of the weights, a <- d a + (1 - d) w. The training returns
            the average. The average covers about 1 / (1 - d) steps, or a tenth of all steps if that is less. With 0,
            the training returns the last weights.
        hard_negatives: share of hard negatives among the negatives in the second half of a training on a stream. Hard
            negatives are windows that the network takes for events halfway through the training. 0 for none.
    """

    epochs: int = 40
    batch_size: int = 100
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    label_smoothing: float = 0.1
    warmup: float = 0.1
    averaging: float = 0.0
    hard_negatives: float = 0.0


@dataclass(frozen=True, slots=True)
class GateSettings:
    """Settings of the training of gates, for all gate kinds.

    Args:
        learning_rate_scale: learning rate of masks and thresholds, divided by the learning rate of the weights; at 1,
            masks would hardly change.
        head_learning_rate_scale: learning rate of the gates' heads, divided by the learning rate of the weights. It is
            above 1, because heads start untrained in a trained backbone.
        alpha: weight of the gates' decisions in the loss.
        beta: weight of the gates' compression in the loss.
        distillation: weight of the distance between the output of an exit and the output of the whole network.
        target: the samples that a gate learns to pass. ``"label"``: samples with the label of a positive.
            ``"network"``: samples that the network itself takes for positives.
        independent: whether each gate learns from all samples. Otherwise, a sample counts at a gate by the probability
            with which it reaches the gate.
        shares: share of each kind of sample in the stream for which gates are trained; empty for the shares of the
            training split.
    """

    learning_rate_scale: float = 25.0
    head_learning_rate_scale: float = 10.0
    alpha: float = 1.0
    beta: float = 0.01
    distillation: float = 0.1
    target: str = "label"
    independent: bool = False
    shares: Mapping[str, float] = field(default_factory=dict)
