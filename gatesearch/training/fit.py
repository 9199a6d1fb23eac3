"""One training, from a model and a data set to the model trained."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from gatesearch.gated import GatedModel
from gatesearch.training.features import Batches, Features
from gatesearch.training.settings import GateSettings, Schedule
from gatesearch.training.task import GatedTask

for name in ("pytorch_lightning", "lightning_utilities"):
    logging.getLogger(name).setLevel(logging.ERROR)  # progress is ours to show
CHECKPOINT_EVERY = 5  # epochs


@dataclass
class History:
    """Learning curves, one entry an epoch."""

    train_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)


class _Watch(Callback):
    def __init__(self, history: History, on_epoch: Callable[[], None] | None) -> None:
        self.history, self.on_epoch = history, on_epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = trainer.callback_metrics
        self.history.train_loss.append(float(metrics["train_loss"]))
        if "validation_accuracy" in metrics:
            self.history.validation_accuracy.append(float(metrics["validation_accuracy"]))
        if self.on_epoch is not None:
            self.on_epoch()

    def state_dict(self) -> dict[str, Any]:
        return {
            "train_loss": self.history.train_loss,
            "validation_accuracy": self.history.validation_accuracy,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history.train_loss[:] = state_dict["train_loss"]
        self.history.validation_accuracy[:] = state_dict["validation_accuracy"]


def fit(
    model: GatedModel,
    features: Features,
    schedule: Schedule,
    gates: GateSettings,
    *,
    seed: int,
    augment: nn.Module | None = None,
    log_dir: Path | None = None,
    on_epoch: Callable[[], None] | None = None,
) -> History:
    """Train a model in place.

    Args:
        model: trained in place and left in evaluation mode, on the CPU.
        features: the bank is fitted; the validation split gives the curve.
        schedule, gates: how.
        seed: of every random choice of this training.
        augment: changes a batch of features at random, in training only; None for none.
        log_dir: where TensorBoard logs and a checkpoint every few epochs go; a training that was cut off goes on from
            there. None keeps nothing.
        on_epoch: called after each epoch.

    Raises:
        KeyboardInterrupt: the user stopped it.
    """
    pl.seed_everything(seed, verbose=False)
    task = GatedTask(model, features.positive, schedule, gates, augment)
    history = History()
    callbacks: list[Callback] = [_Watch(history, on_epoch)]
    if schedule.averaging:
        callbacks.append(EMAWeightAveraging(decay=schedule.averaging))
    last = None
    if log_dir is not None:
        callbacks.append(ModelCheckpoint(log_dir, save_top_k=0, save_last=True, every_n_epochs=CHECKPOINT_EVERY))
        last = log_dir / "last.ckpt"
    trainer = pl.Trainer(
        max_epochs=schedule.epochs,
        accelerator="auto",
        devices=1,
        logger=TensorBoardLogger(log_dir, name="", version="") if log_dir is not None else False,
        callbacks=callbacks,
        enable_checkpointing=log_dir is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        limit_val_batches=1.0 if log_dir is not None else 0,
    )
    train = Batches(features, schedule.batch_size)
    held_out = features.validation
    validation = DataLoader(TensorDataset(held_out.features, held_out.labels), batch_size=256)
    handler = signal.getsignal(signal.SIGINT)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            resume = {"ckpt_path": str(last), "weights_only": True} if last is not None and last.exists() else {}
            trainer.fit(task, train, validation, **resume)  # type: ignore[arg-type]
    except SystemExit:
        # Lightning turns Ctrl-C into an exit and ignores further signals; the caller decides what Ctrl-C means.
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None
    if trainer.interrupted:
        raise KeyboardInterrupt
    model.cpu().eval()
    return history
