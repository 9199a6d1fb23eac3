"""The training protocols of the rows: the paper's, and a short one for a CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

# Rate over the peak, by the share of the training that is done.
DECAYS: Mapping[str, Callable[[float], float]] = {
    "steps": lambda done: 10.0 ** -math.floor(4 * done),  # a tenth after every quarter: 50 of 200 epochs
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
}


class Protocol(BaseModel):
    """One way to train every row; all of it can be changed on the command line.

    Args:
        width: the width factor of M-CifarNet.
        dropout: share of values that it drops.
        train: training images, None for all that validation leaves.
        validation: images held out, on which everything is tuned that is tuned.
        batch_size: images a step.
        epochs, rate, decay: of every row; the peak of SGD's rate, and how it falls.
        base_epochs, base_rate, base_decay: the same of one network without gates a seed, from which every row starts;
            0 epochs: every row starts from scratch.
        momentum, weight_decay: of SGD; biases, normalisation and thresholds have no decay.
        clip_start: PACT's clips start at this share of the largest magnitude that they see, None at all of it.
        clip_decay: of the clips, which without it would never come down; the released code decays all alike.
        pad, cutout: of the augmentation, in pixels, beside flips; see :class:`gatesearch.data.ImageAugment`.
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
# One core of a server trains on an image in 1.1 ms without gates, 2.5 with PG and 3 with both techniques: two to five
# minutes a row, 12 for the baseline.
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
        # Of full clips, two high bits of a trained network say zero of nearly everything.
        "clip_start": 0.35,
        "cutout": 8,
    }
)
PROTOCOLS: Mapping[str, Protocol] = {"paper": PAPER, "short": SHORT}
