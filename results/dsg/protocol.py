"""The training protocols of the ``dsg`` benchmark: the paper's, and a short one for a CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

# Each decay is a function of the share of the training that is done. It returns the share of the peak learning rate.
DECAYS: Mapping[str, Callable[[float], float]] = {
    "steps": lambda done: 10.0 ** -math.floor(4 * done),  # a tenth after every quarter: 50 of 200 epochs
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
}


class Protocol(BaseModel):
    """The settings of a training; the command line can change each of them.

    A clip is the learnt upper bound of a quantiser, as in PACT (parameterised clipping activation, Choi et al. 2018).

    Args:
        width: width factor of M-CifarNet.
        dropout: share of values that M-CifarNet drops.
        train: number of training images; None: all images that are not validation images.
        validation: number of validation images, on which all tuning is done.
        batch_size: images in a step.
        epochs: epochs of the training of one table row.
        rate: peak learning rate of SGD.
        decay: key of :data:`DECAYS`, the rule by which the learning rate falls.
        base_epochs: epochs of the baseline, a network without gates from which every row of a seed starts; 0: every row
            starts from scratch.
        base_rate, base_decay: learning rate and decay of the baseline.
        momentum, weight_decay: settings of SGD; biases, normalisation and thresholds have no weight decay.
        clip_start: initial value of a clip, as a share of the largest magnitude in its input; None: the largest
            magnitude itself.
        clip_decay: weight decay of the clips; without weight decay, clips would never fall. The published code of
            precision gating has the same weight decay for all parameters.
        pad, cutout: sizes in pixels for the augmentation, which also flips; see :class:`gatesearch.data.ImageAugment`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: PositiveFloat
    dropout: NonNegativeFloat
    train: PositiveInt | None
    validation: PositiveInt
    batch_size: PositiveInt
    epochs: PositiveInt
    rate: PositiveFloat
    decay: Literal["steps", "cosine"]
    base_epochs: NonNegativeInt
    base_rate: PositiveFloat
    base_decay: Literal["steps", "cosine"]
    momentum: NonNegativeFloat
    weight_decay: NonNegativeFloat
    clip_start: PositiveFloat | None
    clip_decay: NonNegativeFloat
    pad: NonNegativeInt
    cutout: NonNegativeInt


PAPER = Protocol(
    width=1.0,
    dropout=0.5,
    train=None,
    validation=5000,
    batch_size=128,
    epochs=200,
    rate=0.3,
    decay="steps",
    base_epochs=0,
    base_rate=0.3,
    base_decay="steps",
    momentum=0.9,
    weight_decay=1e-4,
    clip_start=None,
    clip_decay=1e-4,
    pad=4,
    cutout=16,
)
# The short protocol is for a CPU. On one core of a server, a training step takes 1.1 ms per image without gates, 2.5 ms
# with precision gating (PG), and 3 ms with PG and FBS (feature boosting and suppression). A row takes two to five
# minutes, and the baseline 12 minutes.
SHORT = PAPER.model_copy(
    update={
        "width": 0.25,
        "dropout": 0.0,
        "batch_size": 64,
        "epochs": 2,
        "rate": 0.03,
        "decay": "cosine",
        "base_epochs": 14,
        "base_rate": 0.05,
        "base_decay": "cosine",
        # If clips started at the largest magnitude, the two high bits of nearly all activations would be zero.
        "clip_start": 0.35,
        "cutout": 8,
    }
)
PROTOCOLS: Mapping[str, Protocol] = {"paper": PAPER, "short": SHORT}
