"""Mines hard negatives, and lets a training draw them more often.

Hard negatives are windows of the training stream without an event that the network takes for events.
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

ACCEPTED = 0.3  # posterior of the positives above which a negative window is hard
MIN_EPOCHS = 4  # a shorter training does not mine, because it has learned too little at its half


class MineHardNegatives(Callback):
    """Mines hard negatives halfway through a training; later epochs draw a share of their negatives from them.

    Checkpoints store the hard negatives, so that a resumed training draws the same windows.

    Args:
        windows: windows of the training stream.
        positive: whether each class is a positive, [classes].
        share: share of hard negatives among an epoch's negatives.
        epochs: number of epochs of the training.
    """

    def __init__(self, windows: StreamWindows, positive: Tensor, share: float, epochs: int) -> None:
        self.windows, self.positive, self.share = windows, positive, share
        self.epoch = epochs // 2 if epochs >= MIN_EPOCHS else epochs

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Clear the hard negatives, unless the training resumes after the epoch that mines them."""
        if trainer.current_epoch <= self.epoch:
            self.windows.hard = torch.zeros(0, dtype=torch.long)
        self.windows.hard_share = self.share

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Mine hard negatives at the middle epoch."""
        if trainer.current_epoch == self.epoch:
            model = pl_module.model
            assert isinstance(model, GatedModel)
            model.eval()
            self.windows.hard = mine_windows_of(model, self.windows, self.positive)
            model.train()

    def state_dict(self) -> dict[str, Any]:
        """Return the hard negatives."""
        return {"hard": self.windows.hard}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the hard negatives of a checkpoint."""
        self.windows.hard = state_dict["hard"].cpu()


@torch.no_grad()
def mine_windows_of(model: GatedModel, windows: StreamWindows, positive: Tensor) -> Tensor:
    """Return the negatives that a model takes for positives, as indices [hard].

    Only about one window per hop is tested, as a device tests one.

    Args:
        model: the gated model, in evaluation mode.
        windows: windows of the training stream.
        positive: whether each class is a positive, [classes].
    """
    device = next(model.parameters()).device
    chosen = []
    for indices in windows.negatives[:: windows.windows_a_hop].split(EVALUATION_BATCH):
        logits = model(channels_last(windows.features[indices].to(device))).logits
        accepted = logits.softmax(1)[:, positive.to(device)].sum(1) > ACCEPTED
        chosen.append(indices[accepted.cpu()])
    return torch.cat(chosen)
