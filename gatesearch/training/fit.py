"""One training, from a model and a data set to the model trained."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from gatesearch._lib.plugins import need
from gatesearch.model import GatedModel
from gatesearch.training.features import Batches, Features
from gatesearch.training.goal import Classification, Goal
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
        self.random: list[Tensor] = []  # of the checkpoint that this training goes on from

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Shuffles, renditions and dropout go on where they stopped; Lightning's checkpoints leave that out.
        if self.random:
            torch.set_rng_state(self.random[0])
            torch.cuda.set_rng_state_all(self.random[1:])

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
            "random": [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history.train_loss[:] = state_dict["train_loss"]
        self.history.validation_accuracy[:] = state_dict["validation_accuracy"]
        self.random = [state.cpu() for state in state_dict["random"]]


def fit(
    model: GatedModel,
    features: Features,
    schedule: Schedule,
    gates: GateSettings,
    *,
    seed: int,
    goal: Goal | None = None,
    augment: nn.Module | None = None,
    log_dir: Path | None = None,
    pieces: Path | None = None,
    until: int | None = None,
    on_epoch: Callable[[], None] | None = None,
    task: Callable[..., GatedTask] = GatedTask,
) -> History:
    """Train a model in place.

    Args:
        model: trained in place and left in evaluation mode, on the CPU.
        features: the bank is fitted; the validation split gives the curve.
        schedule, gates: how.
        seed: of every random choice of this training.
        goal: what the network is for; None: to tell the classes apart.
        augment: changes a batch of features at random, in training only; None for none.
        log_dir: where TensorBoard logs and a checkpoint every few epochs go; a training that was cut off goes on from
            there. None keeps nothing.
        pieces: folder for a training that is done piece by piece: a checkpoint of each piece goes there, and the next
            one, or one that was cut off, goes on from there. Curves are not kept.
        until: epoch after which this piece ends; None to the end of the schedule.
        on_epoch: called after each epoch.
        task: what a step of training is; called as :class:`GatedTask` is.

    Raises:
        KeyboardInterrupt: the user stopped it.
    """
    if log_dir is not None:
        need("training curves in logs/", "tensorboard")
    pl.seed_everything(seed, verbose=False)
    aim = goal or Classification(features.positive, features.kind_names)
    steps = task(model, aim, features.positive, class_weights(features, gates.shares), schedule, gates, augment)
    history = History()
    callbacks: list[Callback] = [_Watch(history, on_epoch)]
    if schedule.averaging:
        callbacks.append(EMAWeightAveraging(decay=schedule.averaging))
    last, end = None, until or schedule.epochs
    if log_dir is not None:
        callbacks.append(_checkpoints(log_dir, "last", CHECKPOINT_EVERY))
        last = log_dir / "last.ckpt"
    elif pieces is not None:
        callbacks.append(_checkpoints(pieces, str(end), 1))
        before = [int(path.stem) for path in pieces.glob("*.ckpt") if int(path.stem) <= end]
        last = pieces / f"{max(before, default=end)}.ckpt"
    trainer = pl.Trainer(
        max_epochs=end,
        accelerator="auto",
        devices=1,
        logger=TensorBoardLogger(log_dir, name="", version="") if log_dir is not None else False,
        callbacks=callbacks,
        enable_checkpointing=last is not None,
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
    steps.train()  # Lightning leaves modes as they are, and parts that were evaluated before would stay frozen
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            resume = {"ckpt_path": str(last), "weights_only": True} if last is not None and last.exists() else {}
            trainer.fit(steps, train, validation, **resume)  # type: ignore[arg-type]
    except SystemExit:
        # Lightning turns Ctrl-C into an exit and ignores further signals; the caller decides what Ctrl-C means.
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None
    if trainer.interrupted:
        raise KeyboardInterrupt
    for callback in callbacks:
        if isinstance(callback, EMAWeightAveraging):
            # Lightning ends no training that had nothing left to do, and would hand back the last weights.
            callback.on_train_end(trainer, steps)
    model.cpu().eval()
    return history


def _checkpoints(folder: Path, name: str, every: int) -> ModelCheckpoint:
    # Not `save_last`: without a best model it saves nothing before the end.
    return ModelCheckpoint(
        folder, filename=name, every_n_epochs=every, save_on_train_epoch_end=True, enable_version_counter=False
    )


def class_weights(features: Features, shares: Mapping[str, float]) -> Tensor:
    """Return how often a sample of each class arrives in use, relative to the training split, [classes].

    Args:
        features: where the training split is.
        shares: of each kind in the stream; empty for the training split's own. A kind that the stream lacks keeps a
            hundredth, so that it is not unknown to the gates.
    """
    kinds, labels = features.train.kinds, features.train.labels
    weights = torch.ones(len(features.positive))
    if shares:
        trained = torch.bincount(kinds, minlength=len(features.kind_names)) / len(kinds)
        used = torch.tensor([max(0.01, shares.get(name, 0.0)) for name in features.kind_names])
        weights[labels] = (used / trained.clamp(min=1e-6))[kinds]
    return weights
