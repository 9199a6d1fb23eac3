"""Settings of a training, as plain values: a recipe, a test or a caller of the API can set them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Schedule:
    """One training.

    Args:
        epochs: passes over the training split.
        batch_size: samples a step.
        learning_rate: peak of AdamW's rate; it warms up, then falls to zero along half a cosine.
        weight_decay: the weight decay of the weights; biases and the gates' control parameters have none.
        label_smoothing: the label smoothing of the cross entropy, in [0, 1).
        warmup: share of the steps in which the rate rises.
        averaging: decay d of the exponential moving average a <- d a + (1 - d) w of the weights, which is the result of
            the training; it averages over about 1 / (1 - d) steps, or a tenth of all steps where that is less. 0 takes
            the last weights.
        hard_negatives: share of the negatives that are drawn, in the second half of a training on a stream, from those
            that the network took for events halfway; 0 for none.
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
    """How gates of every kind are trained.

    Args:
        learning_rate_scale: rate of masks and thresholds over that of the weights; at 1 masks hardly move.
        head_learning_rate_scale: rate of the gates' heads over that of the weights; heads start untrained, in a trained
            backbone.
        alpha: weight of the gate loss.
        beta: weight of the compression loss.
        distillation: weight of the distance between the output of an exit and that of the whole network.
        shares: share of each kind in the stream in use, which is what gates are trained for; empty: as in the training
            split.
    """

    learning_rate_scale: float = 25.0
    head_learning_rate_scale: float = 10.0
    alpha: float = 1.0
    beta: float = 0.01
    distillation: float = 0.1
    shares: Mapping[str, float] = field(default_factory=dict)
