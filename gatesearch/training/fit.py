"""Trains a gated model on the features of a data set, with Lightning."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from gatesearch._lib import interrupts
from gatesearch._lib.allocator import memory_reuse
from gatesearch._lib.plugins import need
from gatesearch.errors import UserError
from gatesearch.model import GatedModel
from gatesearch.training.averaging import MovingAverage, averaging_decay
from gatesearch.training.cascade import EVALUATION_BATCH
from gatesearch.training.checkpoints import WholeCheckpointIO, find_checkpoint
from gatesearch.training.divergence import StopAtDivergence
from gatesearch.training.features import Batches, Features
from gatesearch.training.goals import Classification, Goal
from gatesearch.training.hard_negatives import MineHardNegatives
from gatesearch.training.in_place import activations_in_place
from gatesearch.training.settings import GateSettings, Schedule
from gatesearch.training.task import GatedTask

CHECKPOINT = "last.ckpt"
LEAST_SHARE = 0.01  # assumed share of a kind that is absent from the stream, so that gates still learn this kind


@dataclass
class History:
    """Learning curves, with one entry per epoch."""

    train_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)


class _Watch(Callback):
    """Records learning curves, reports epochs, and stores the random state in checkpoints.

    The name of this class is the key of its state in checkpoints.
    """

    def __init__(
        self, history: History, on_epoch: Callable[[], None] | None, on_step: Callable[[], None] | None
    ) -> None:
        self.history, self.on_epoch, self.on_step = history, on_epoch, on_step
        self.random_states: list[Tensor] = []  # states in the resumed checkpoint: the CPU's, then each GPU's

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Shuffles, renditions and dropout continue where they stopped. Lightning's checkpoints do not store this state.
        if self.random_states:
            torch.set_rng_state(self.random_states[0])
            torch.cuda.set_rng_state_all(self.random_states[1:])

    def on_train_batch_end(self, *_: Any) -> None:
        if self.on_step is not None:
            self.on_step()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, GatedTask)
        self.history.train_loss.append(float(pl_module.train_loss))
        if "validation_accuracy" in trainer.callback_metrics:
            self.history.validation_accuracy.append(float(trainer.callback_metrics["validation_accuracy"]))
        if self.on_epoch is not None:
            self.on_epoch()

    def state_dict(self) -> dict[str, Any]:
        gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {
            "train_loss": self.history.train_loss,
            "validation_accuracy": self.history.validation_accuracy,
            "random": [torch.get_rng_state(), *gpus],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history.train_loss[:] = state_dict["train_loss"]
        self.history.validation_accuracy[:] = state_dict["validation_accuracy"]
        self.random_states = [state.cpu() for state in state_dict["random"]]


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
    checkpoints: Path | None = None,
    on_epoch: Callable[[], None] | None = None,
    on_step: Callable[[], None] | None = None,
    max_steps: int | None = None,
) -> History:
    """Train a model in place.

    Args:
        model: the gated model; trained in place and left in evaluation mode, on the CPU.
        features: the features; the training split (``bank``, or windows of a stream) trains the model, and the
            validation split yields the learning curve.
        schedule: epochs, batch size and learning rate.
        gates: settings of the gates' training.
        seed: the seed of every random choice of this training.
        goal: the goal that defines the loss; None for classification.
        augment: module that changes a batch of features at random, in training only; None for no augmentation.
        log_dir: folder for TensorBoard logs and for a checkpoint of the last epoch, from which an interrupted training
            resumes; None for no logs.
        checkpoints: folder for the checkpoint if ``log_dir`` is None; None for no checkpoint.
        on_epoch: function that is called after each epoch.
        on_step: function that is called after each step.
        max_steps: number of steps after which the training ends; None to train all epochs.

    Raises:
        DivergedError: the loss or a weight is not finite.
        UserError: a batch holds too few samples for a batch normalisation.
        KeyboardInterrupt: the user stopped the training.
    """
    if log_dir is not None:
        need("training curves in logs/", "tensorboard")
    pl.seed_everything(seed, verbose=False)
    aim = goal or Classification(features.positive, features.kind_names)
    steps = GatedTask(model, aim, features.positive, class_weights(features, gates.shares), schedule, gates, augment)
    history = History()
    callbacks: list[Callback] = [StopAtDivergence(schedule), _Watch(history, on_epoch, on_step)]
    train = Batches(features, schedule.batch_size)
    if decay := averaging_decay(schedule.averaging, schedule.epochs * len(train)):
        callbacks.append(MovingAverage(decay))
    if features.windows is not None:
        callbacks.append(
            MineHardNegatives(features.windows, features.positive, schedule.hard_negatives, schedule.epochs)
        )
    folder = checkpoints if log_dir is None else log_dir
    resume: dict[str, Any] = {}
    if folder is not None:
        callbacks.append(_checkpoints(folder))
        checkpoint = find_checkpoint(folder / CHECKPOINT, steps.state_dict())
        if checkpoint is not None:
            resume = {"ckpt_path": str(checkpoint), "weights_only": True}
    held_out = TensorDataset(features.validation.features, features.validation.labels)
    steps.train()  # Lightning does not change modes; in evaluation mode, running statistics would not be updated
    with _quiet_lightning():
        trainer = pl.Trainer(
            max_epochs=schedule.epochs,
            max_steps=-1 if max_steps is None else max_steps,
            accelerator="auto",
            devices=1,
            logger=TensorBoardLogger(log_dir, name="", version="") if log_dir is not None else False,
            callbacks=callbacks,
            enable_checkpointing=folder is not None,
            plugins=[WholeCheckpointIO()],
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            limit_val_batches=1.0 if log_dir is not None else 0,
        )
        with (
            memory_reuse(),
            activations_in_place(model),
            _interrupts_as_exceptions(),
            _one_sample_as_user_error(train.batch_size),
        ):
            trainer.fit(steps, train, DataLoader(held_out, batch_size=EVALUATION_BATCH), **resume)
        # Lightning checks for SIGTERM only between batches, so this function checks for it after the last batch.
        if trainer.interrupted or trainer.received_sigterm:
            raise KeyboardInterrupt
        interrupts.check()
        for callback in callbacks:
            if isinstance(callback, MovingAverage):
                # If the checkpoint is of the last epoch, Lightning does not call on_train_end. This call replaces the
                # weights by their average in that case, too.
                callback.on_train_end(trainer, steps)
    model.cpu().eval()
    return history


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silence Lightning's notices and warnings, since the caller shows the progress."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_utilities")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _interrupts_as_exceptions() -> Iterator[None]:
    """Raise KeyboardInterrupt for Ctrl-C.

    Lightning would turn Ctrl-C into an exit and ignore further signals. With the exception, the caller decides what
    follows.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


@contextmanager
def _one_sample_as_user_error(batch_size: int) -> Iterator[None]:
    """Raise a UserError with advice if a batch normalisation refuses a batch of one value per channel."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UserError(
            f"training: batches of {batch_size}: a batch normalisation needs two values a channel to train; "
            "set a batch_size above 1"
        ) from error


def _checkpoints(folder: Path) -> ModelCheckpoint:
    """Return the callback that saves a checkpoint after each epoch and overwrites the previous checkpoint.

    Lightning's ``save_last`` would not suffice: without a monitored best model, it saves nothing before the end.
    """
    return ModelCheckpoint(
        folder,
        filename=CHECKPOINT.removesuffix(".ckpt"),
        every_n_epochs=1,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )


def class_weights(features: Features, shares: Mapping[str, float]) -> Tensor:
    """Return how often a sample of each class arrives in use, relative to the training split, [classes].

    Args:
        features: the features of the data set, with the training split.
        shares: share of each kind in the stream; empty to use the shares in the training split. A kind that is absent
            from the stream gets :data:`LEAST_SHARE`.
    """
    kinds, labels = features.train.kinds, features.train.labels
    weights = torch.ones(len(features.positive))
    if shares:
        in_training = torch.bincount(kinds, minlength=len(features.kind_names)) / len(kinds)
        in_use = torch.tensor([max(LEAST_SHARE, shares.get(name, 0.0)) for name in features.kind_names])
        weights[labels] = (in_use / in_training.clamp(min=1e-6))[kinds]
    return weights
