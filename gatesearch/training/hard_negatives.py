"""Mines hard negatives, and lets a training draw them more often.

Hard negatives are windows without an event to which the network gives the highest probabilities of an event.
"""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from gatesearch._lib.tensors import channels_last
from gatesearch.model import GatedModel
from gatesearch.training.cascade import EVALUATION_BATCH
from gatesearch.training.stream_windows import StreamWindows

HARD_SHARE = 0.01  # share of the examined negatives that counts as hard
SAMPLE_EPOCHS = 4  # a mining examines as many negatives as this number of epochs has windows
MIN_EPOCHS = 4  # a shorter training does not mine: at its middle epoch, the network has learned too little


class MineHardNegatives(Callback):
    """Mines hard negatives in the middle of a training; later epochs draw a share of their negatives from these.

    Checkpoints store the hard negatives, so that a resumed training draws the same windows.

    Args:
        windows: windows of the training stream.
        positive: whether each class is a positive, [classes].
        share: share of hard negatives among an epoch's negatives.
        epochs: number of epochs of the training.
    """

    def __init__(self, windows: StreamWindows, positive: Tensor, share: float, epochs: int) -> None:
        self.windows, self.positive, self.share = windows, positive, share
        self.epoch = epochs // 2 if share and epochs >= MIN_EPOCHS else epochs

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the hard negatives of the baseline, unless the training resumes after the epoch that mines its own."""
        if trainer.current_epoch <= self.epoch:
            self.windows.hard = self.windows.baseline_hard
        self.windows.hard_share = self.share

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Mine hard negatives at the middle epoch."""
        if trainer.current_epoch == self.epoch:
            model = pl_module.model
            assert isinstance(model, GatedModel)
            model.eval()
            self.windows.hard = find_hard_negatives(model, self.windows, self.positive)
            model.train()

    def state_dict(self) -> dict[str, Any]:
        """Return the hard negatives."""
        return {"hard": self.windows.hard}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the hard negatives of a checkpoint."""
        self.windows.hard = state_dict["hard"].cpu()


@torch.no_grad()
def find_hard_negatives(model: GatedModel, windows: StreamWindows, positive: Tensor) -> Tensor:
    """Return the indices [hard] of the negatives to which a model gives the highest probabilities of a positive.

    The function examines as many random negatives as :data:`SAMPLE_EPOCHS` epochs have windows, at most one window per
    hop. It returns the share :data:`HARD_SHARE` of them with the largest sum of the positives' posteriors.

    Args:
        model: the model, in evaluation mode.
        windows: the windows of the training stream.
        positive: whether each class is a positive, [classes].
    """
    device = next(model.parameters()).device
    candidates = windows.negatives[:: windows.windows_a_hop]
    candidates = candidates[torch.randperm(len(candidates))[: SAMPLE_EPOCHS * windows.count]]
    posteriors = []
    for indices in candidates.split(EVALUATION_BATCH):
        logits = model(channels_last(windows.features[indices].to(device))).logits
        posteriors.append(logits.softmax(1)[:, positive.to(device)].sum(1).cpu())
    count = max(1, round(HARD_SHARE * len(candidates)))
    return candidates[torch.cat(posteriors).topk(count).indices]
