"""The Lightning module that trains a gated model: its losses and its optimiser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from gatesearch._lib.tensors import channels_last
from gatesearch.gates import CutGate, GateContext
from gatesearch.model import GatedModel, GatedOutput
from gatesearch.training.goals import Goal
from gatesearch.training.settings import GateSettings, Schedule

Batch = tuple[Tensor, Tensor]
# Lower bound on the probability with which a gate passes a sample, so that later gates still learn from samples that
# earlier gates stop.
MIN_REACH = 0.02
# A network takes a sample for a positive if the probabilities of the positive classes sum to more than this value. Few
# detectors have a lower threshold.
ACCEPTED = 0.3


@runtime_checkable
class HasExtraLoss(Protocol):
    """A module with its own term of the training loss, such as a quantiser that updates its codebook."""

    def extra_loss(self) -> Tensor:
        """Return the module's loss term for its last forward pass in training, a scalar."""


def accepted(logits: Tensor, positive: Tensor) -> Tensor:
    """Return whether a network takes each sample for a positive, [N].

    Args:
        logits: outputs of the network, [N, classes].
        positive: whether each class is a positive, [classes].

    >>> accepted(torch.tensor([[2.0, 0.0], [-2.0, 0.0]]), torch.tensor([True, False])).tolist()
    [True, False]
    """
    return logits.detach().softmax(1)[:, positive].sum(1) > ACCEPTED


class GatedTask(pl.LightningModule):
    """Trains a gated model end to end on the sum of the goal's loss, the gates' losses and the modules' extra losses.

    Args:
        model: the gated model; the empty plan trains the ungated backbone.
        goal: the goal of the network, which defines its loss.
        positive: whether each class is a positive, [classes].
        class_weight: how often a sample of each class arrives in use, relative to the training split, [classes].
        schedule: epochs, learning rates, batch size.
        gate_settings: weights of the gates' losses, and the gates' learning rates.
        augment: module that changes features [N, *shape] in training; None for no augmentation.
    """

    positive: Tensor
    class_weight: Tensor

    def __init__(
        self,
        model: GatedModel,
        goal: Goal,
        positive: Tensor,
        class_weight: Tensor,
        schedule: Schedule,
        gate_settings: GateSettings,
        augment: nn.Module | None = None,
    ) -> None:
        super().__init__()
        # Depthwise convolutions run several times faster with the channels last in memory, on CPUs and on GPUs.
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.goal = goal
        self.modules_with_loss = [module for module in model.modules() if isinstance(module, HasExtraLoss)]
        self.augment = augment or nn.Identity()
        self.register_buffer("positive", positive.clone())
        self.register_buffer("class_weight", class_weight.clone())
        self.schedule, self.gate_settings = schedule, gate_settings
        self.layer_gates = tuple(model.layer_gates.values())
        self.losses: list[Tensor] = []  # the loss of each batch of the epoch
        self.scores: list[Tensor] = []  # for each batch, two sums; the quality is the first over the second

    @property
    def train_loss(self) -> Tensor:
        """The mean loss of the epoch's batches so far; they have the same size."""
        return torch.stack(self.losses).mean()

    def on_train_epoch_start(self) -> None:
        """Clear the losses."""
        self.losses.clear()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Pass training progress (0 to 1) to the layer gates."""
        if self.layer_gates:
            progress = self.trainer.global_step / max(1, self._steps() - 1)
            for layer_gate in self.layer_gates:
                layer_gate.anneal(progress)

    def on_train_epoch_end(self) -> None:
        """Log the mean loss, once, because Lightning's own mean would take 1 ms in each step."""
        self.log("train_loss", self.train_loss)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch: features [N, *shape] and labels [N]."""
        features, labels = batch
        with torch.no_grad():
            features = channels_last(self.augment(features))
        output = self.model(features)
        loss = self.goal.loss(output.logits, features, labels, self.schedule)
        loss = loss + self.gate_losses(self.model.cut_gates, output, features, labels)
        for layer_gate in self.layer_gates:
            loss = loss + layer_gate.loss()
        for module in self.modules_with_loss:
            loss = loss + module.extra_loss()
        self.losses.append(loss.detach())
        return loss

    def gate_losses(
        self, cut_gates: Sequence[CutGate], output: GatedOutput, features: Tensor, labels: Tensor
    ) -> Tensor | float:
        """Return the sum of the cut gates' losses, given their outputs for features [N, *shape].

        Each gate has to learn on the samples that reach it in use. So a sample's weight at a gate is a product of two
        factors. The first is the weight of its class: how often such samples arrive in the stream. The second is the
        probability that the sample reaches the gate. This probability is the product, over all earlier gates, of the
        sigmoid of the gate's logit. If the gates are independent, the second factor is 1.
        """
        errors = partial(self.goal.errors, features=features, labels=labels)
        positive, weight = self.positive[labels], self.class_weight[labels]
        if self.gate_settings.target == "network":
            # A gate need not pass a sample that the network would not report. The network itself still learns the
            # labels.
            positive = accepted(output.logits, self.positive)
        loss_weights = {
            "alpha": self.gate_settings.alpha,
            "beta": self.gate_settings.beta,
            "distillation": self.gate_settings.distillation,
        }
        loss: Tensor | float = 0.0
        for gate, gate_output in zip(cut_gates, output.gates, strict=True):
            context = GateContext(positive=positive, weight=weight, final=output.logits, errors=errors, **loss_weights)
            loss = loss + gate.loss(gate_output, context)
            if not self.gate_settings.independent:
                weight = weight * torch.sigmoid(gate_output.logit.detach()).clamp(min=MIN_REACH)
        return loss

    def _steps(self) -> int:
        """Return the number of optimiser steps of the whole training."""
        return int(self.trainer.estimated_stepping_batches)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the scores of a batch for the learning curve, without stopping samples at gates.

        The figures that a run reports are measured on the hard cascade instead, in which gates stop samples.
        """
        features, labels = batch
        output = self.model(channels_last(features)).logits
        self.scores.append(torch.stack(self.goal.scores(output, features, labels)).sum(1))

    def on_validation_epoch_end(self) -> None:
        """Log the quality over the whole split and clear the scores."""
        reached, possible = torch.stack(self.scores).sum(0)
        self.scores.clear()
        self.log("validation_accuracy", reached / possible)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with a learning rate that warms up linearly and then falls along half a cosine.

        Masks and thresholds have a learning rate of their own and no weight decay. The heads of gates have a third
        learning rate.
        """
        all_gates = [*self.model.cut_gates, *self.model.layer_gates.values()]
        control_parameters = {id(p) for gate in all_gates for p in gate.control_parameters()}
        # The weights of a gated layer, and of an exit, train at the backbone's rate.
        exit_weights = {id(p) for gate in self.model.cut_gates if gate.exit is not None for p in gate.exit.parameters()}
        gate_param_ids = ({id(p) for p in self.model.gates.parameters()} - exit_weights) | control_parameters
        groups: dict[str, list[nn.Parameter]] = {"decay": [], "no_decay": [], "gate_weights": [], "control": []}
        for parameter in self.model.parameters():
            backbone = "decay" if parameter.ndim > 1 else "no_decay"
            gate = "control" if id(parameter) in control_parameters else "gate_weights"
            groups[gate if id(parameter) in gate_param_ids else backbone].append(parameter)
        rate, schedule = self.schedule.learning_rate, self.schedule
        optimizer = torch.optim.AdamW(
            [
                {"params": groups["decay"], "lr": rate, "weight_decay": schedule.weight_decay},
                {"params": groups["no_decay"], "lr": rate, "weight_decay": 0.0},
                {
                    "params": groups["gate_weights"],
                    "lr": rate * self.gate_settings.head_learning_rate_scale,
                    "weight_decay": schedule.weight_decay,
                },
                {
                    "params": groups["control"],
                    "lr": rate * self.gate_settings.learning_rate_scale,
                    "weight_decay": 0.0,
                },
            ],
            fused=True,
        )
        total = self._steps()
        warmup = max(1, round(schedule.warmup * total))

        def lr_factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lr_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
