"""Stops a training whose loss or weights are no longer finite; its error says what to try."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import nn

from gatesearch.errors import UserError
from gatesearch.training.settings import Schedule
from gatesearch.training.task import GatedTask

# Number of steps from one check of the losses to the next on an accelerator, which would wait for each check.
ACCELERATOR_INTERVAL = 16


class DivergedError(UserError):
    """Raised if the loss or the weights of a training are infinite or not a number."""


class StopAtDivergence(Callback):
    """Stops a training at a loss that is not finite, or after the first epoch with a weight that is not finite.

    Args:
        schedule: the schedule of the training, which the message quotes.

    Raises:
        DivergedError: during the training.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Check the losses since the last check."""
        interval = 1 if pl_module.device.type == "cpu" else ACCELERATOR_INTERVAL
        if (batch_idx + 1) % interval == 0:
            self._check_losses(trainer, pl_module, interval)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check the last losses, and the weights, because no loss follows the last step of a training."""
        self._check_losses(trainer, pl_module, ACCELERATOR_INTERVAL)
        if name := first_not_finite(pl_module):
            self._stop(f"{name.removeprefix('model.')} holds values that are not finite", trainer.current_epoch)

    def _check_losses(self, trainer: pl.Trainer, pl_module: pl.LightningModule, count: int) -> None:
        """Check the last ``count`` losses of an epoch."""
        assert isinstance(pl_module, GatedTask)
        for loss in torch.stack(pl_module.losses[-count:]).tolist():
            if not math.isfinite(loss):
                self._stop(f"the loss is {loss:g}", trainer.current_epoch)

    def _stop(self, reason: str, epoch: int) -> None:
        schedule = self.schedule
        raise DivergedError(
            f"training diverged in epoch {epoch + 1} of {schedule.epochs}: {reason}; try a learning_rate below "
            f"{schedule.learning_rate:g} or a longer warmup than {schedule.warmup:g} of the steps"
        )


def first_not_finite(model: nn.Module) -> str | None:
    """Return the name of the first parameter or running statistic that is not finite; None if all are finite.

    Other buffers may be infinite, such as a gate's threshold, which is -inf before its calibration.
    """
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            return name
    for name, buffer in model.named_buffers():
        if name.rpartition(".")[2] in ("running_mean", "running_var") and not bool(torch.isfinite(buffer).all()):
            return name
    return None
