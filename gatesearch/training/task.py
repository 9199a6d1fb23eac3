"""The Lightning module: a gated model, its losses, its optimiser."""

from __future__ import annotations

import math

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy

from gatesearch.gated import GatedModel
from gatesearch.training.settings import GateSettings, Schedule

Batch = tuple[Tensor, Tensor]
LEAST_REACH = 0.02


class GatedTask(pl.LightningModule):
    """Trains a gated model end to end: L = CE + sum over gates of (alpha BCE + beta C), section 0.2.

    Args:
        model: the gated model; the empty plan trains the ungated backbone.
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
        positive: Tensor,
        class_weight: Tensor,
        schedule: Schedule,
        gates: GateSettings,
        augment: nn.Module | None = None,
    ) -> None:
        super().__init__()
        # Depthwise convolutions run several times faster with the channels last in memory, on CPU as on GPU.
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.augment = augment or nn.Identity()
        self.register_buffer("positive", positive.clone())
        self.register_buffer("class_weight", class_weight.clone())
        self.schedule, self.gates = schedule, gates
        self.accuracy = MulticlassAccuracy(model.num_classes, average="micro")

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Tell the gates in the place of layers how far the training has come."""
        progress = self.trainer.global_step / max(1, int(self.trainer.estimated_stepping_batches) - 1)
        for layer_gate in self.model.layer_gates.values():
            layer_gate.anneal(progress)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step on features [N, *shape] and labels [N]."""
        features, labels = batch
        with torch.no_grad():
            features = channels_last(self.augment(features))
        output = self.model(features)
        loss = F.cross_entropy(output.logits, labels, label_smoothing=self.schedule.label_smoothing)
        positive, weight = self.positive[labels], self.class_weight[labels]
        for k, gate_output in enumerate(output.gates):
            loss = loss + self.model.gate(k).loss(gate_output, positive, self.gates.alpha, self.gates.beta, weight)
            # What this gate stops is no business of the next one.
            weight = weight * torch.sigmoid(gate_output.logit.detach()).clamp(min=LEAST_REACH)
        for layer_gate in self.model.layer_gates.values():
            loss = loss + layer_gate.loss()
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Accuracy without stopping, as a learning curve; claims come from the hard cascade."""
        features, labels = batch
        self.accuracy(self.model(channels_last(features)).logits, labels)
        self.log("validation_accuracy", self.accuracy, on_epoch=True, batch_size=len(labels))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW; gates have rates of their own, and what steers them no decay."""
        every = [*map(self.model.gate, range(len(self.model.gates))), *self.model.layer_gates.values()]
        steering = {id(p) for gate in every for p in gate.steering()}
        # What is left of a layer behind its gate is a layer, and learns like one.
        gates = {id(p) for p in self.model.gates.parameters()} | steering
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
        total = int(self.trainer.estimated_stepping_batches)
        warmup = max(1, round(schedule.warmup * total))

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def channels_last(features: Tensor) -> Tensor:
    """Return images [N, C, H, W] in channels-last memory order, anything else as it is."""
    return features.contiguous(memory_format=torch.channels_last) if features.ndim == 4 else features
