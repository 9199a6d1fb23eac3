"""The Lightning module: a gated model, its losses, its optimiser."""

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
# A sample that a gate surely stops still counts this much at the gates behind it: none of them forgets it.
LEAST_REACH = 0.02


@runtime_checkable
class HasExtraLoss(Protocol):
    """A part of a network that adds to the training loss, such as a quantiser that pulls its codewords along."""

    def extra_loss(self) -> Tensor:
        """Return what the last forward in training adds, a scalar."""


class GatedTask(pl.LightningModule):
    """Trains a gated model end to end: L = the goal's loss + the losses of gates and of parts of the network.

    Args:
        model: the gated model; the empty plan trains the ungated backbone.
        goal: what the network is for.
        positive: whether each class is a positive, [classes].
        class_weight: how often a sample of each class arrives in use, relative to the training split, [classes].
        schedule: epochs, rates, batch size.
        gates: weights of the gates' losses.
        augment: changes features [N, *shape] while training; None for none.
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
        gates: GateSettings,
        augment: nn.Module | None = None,
    ) -> None:
        super().__init__()
        # Depthwise convolutions run several times faster with the channels last in memory, on CPU as on GPU.
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.goal = goal
        self.extra = [module for module in model.modules() if isinstance(module, HasExtraLoss)]
        self.augment = augment or nn.Identity()
        self.register_buffer("positive", positive.clone())
        self.register_buffer("class_weight", class_weight.clone())
        self.schedule, self.gates = schedule, gates
        self.scores: list[Tensor] = []

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Tell the gates in the place of layers the share of the training that is done."""
        progress = self.trainer.global_step / max(1, self._steps() - 1)
        for layer_gate in self.model.layer_gates.values():
            layer_gate.anneal(progress)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step on features [N, *shape] and labels [N]."""
        features, labels = batch
        with torch.no_grad():
            features = channels_last(self.augment(features))
        output = self.model(features)
        loss = self.goal.loss(output.logits, features, labels, self.schedule)
        loss = loss + self.gate_losses(self.model.cut_gates, output, features, labels)
        for layer_gate in self.model.layer_gates.values():
            loss = loss + layer_gate.loss()
        for part in self.extra:
            loss = loss + part.extra_loss()
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    def gate_losses(
        self, gates: Sequence[CutGate], output: GatedOutput, features: Tensor, labels: Tensor
    ) -> Tensor | float:
        """Return what cut gates add to the loss, from their outputs for features [N, *shape].

        Each gate learns on the stream that reaches it in use. So a sample's weight is its class's share in the stream,
        times the probability, sigmoid of the logit, that every gate in front passes it on.
        """
        errors = partial(self.goal.errors, features=features, labels=labels)
        positive, weight = self.positive[labels], self.class_weight[labels]
        strengths = self.gates.alpha, self.gates.beta, self.gates.distillation
        loss: Tensor | float = 0.0
        for gate, gate_output in zip(gates, output.gates, strict=True):
            context = GateContext(positive, *strengths, weight, output.logits, errors)
            loss = loss + gate.loss(gate_output, context)
            weight = weight * torch.sigmoid(gate_output.logit.detach()).clamp(min=LEAST_REACH)
        return loss

    def _steps(self) -> int:
        """Return the steps of the whole training."""
        return int(self.trainer.estimated_stepping_batches)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Quality where nothing leaves, as a learning curve; claims come from the hard cascade."""
        features, labels = batch
        output = self.model(channels_last(features)).logits
        self.scores.append(torch.stack(self.goal.scores(output, features, labels)).sum(1))

    def on_validation_epoch_end(self) -> None:
        """Log the quality over the whole split."""
        reached, possible = torch.stack(self.scores).sum(0)
        self.scores.clear()
        self.log("validation_accuracy", reached / possible)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with a rate that warms up linearly and then falls along half a cosine.

        Gates have rates of their own; masks and thresholds, which steer them, have no decay.
        """
        all_gates = [*self.model.cut_gates, *self.model.layer_gates.values()]
        steering = {id(p) for gate in all_gates for p in gate.steering()}
        # A gated layer is still a layer, and learns like one; so does an exit.
        exits = {id(p) for gate in self.model.cut_gates if gate.exit is not None for p in gate.exit.parameters()}
        gates = {id(p) for p in self.model.gates.parameters()} - exits | steering
        groups: dict[str, list[nn.Parameter]] = {"decay": [], "plain": [], "heads": [], "steering": []}
        for parameter in self.model.parameters():
            backbone = "decay" if parameter.ndim > 1 else "plain"
            gate = "steering" if id(parameter) in steering else "heads"
            groups[gate if id(parameter) in gates else backbone].append(parameter)
        rate, schedule = self.schedule.learning_rate, self.schedule
        optimizer = torch.optim.AdamW(
            [
                {"params": groups["decay"], "lr": rate, "weight_decay": schedule.weight_decay},
                {"params": groups["plain"], "lr": rate, "weight_decay": 0.0},
                {
                    "params": groups["heads"],
                    "lr": rate * self.gates.head_learning_rate_scale,
                    "weight_decay": schedule.weight_decay,
                },
                {
                    "params": groups["steering"],
                    "lr": rate * self.gates.learning_rate_scale,
                    "weight_decay": 0.0,
                },
            ]
        )
        total = self._steps()
        warmup = max(1, round(schedule.warmup * total))

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
