"""A training loop written by hand in plain PyTorch, which computes what gatesearch's trainer computes.

It trains models with ``gc`` gates, or without gates, for the goal of classification. Both ways end with the same
weights, bit for bit; a test compares them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from gatesearch.gates import GateContext
from gatesearch.model import GatedModel
from gatesearch.training import Features, GateSettings, Schedule
from gatesearch.training.averaging import averaging_decay

MIN_REACH = 0.02  # lower bound on the share of a sample that passes a gate


def train(
    model: GatedModel,
    features: Features,
    schedule: Schedule,
    settings: GateSettings,
    seed: int,
    on_epoch: Callable[[], None],
) -> None:
    """Train a model in place; see :func:`gatesearch.training.fit` for the arguments."""
    torch.manual_seed(seed)
    model.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    count, size = len(features.labels), schedule.batch_size
    steps = count // size
    decay = averaging_decay(schedule.averaging, schedule.epochs * steps)
    optimizer = build_optimizer(model, schedule, settings)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, partial(learning_rate, schedule=schedule, total=schedule.epochs * steps)
    )
    weights = [tensor.detach() for tensor in (*model.parameters(), *model.buffers()) if tensor.is_floating_point()]
    averages: list[torch.Tensor] = []
    for _ in range(schedule.epochs):
        rendition = torch.randint(features.bank.shape[1], (count,))
        for batch in torch.randperm(count).split(size)[:steps]:
            inputs, labels = features.bank[batch, rendition[batch]], features.labels[batch]
            loss = compute_loss(model, features, schedule, settings, inputs, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            if not averages:
                averages = [weight.clone() for weight in weights]
            else:
                torch._foreach_mul_(averages, decay)
                torch._foreach_add_(averages, torch._foreach_mul(weights, 1 - decay))
        on_epoch()
    torch._foreach_copy_(weights, averages)
    model.eval()


def compute_loss(
    model: GatedModel,
    features: Features,
    schedule: Schedule,
    settings: GateSettings,
    inputs: torch.Tensor,
    labels: torch.Tensor,
) -> torch.Tensor:
    """Return the cross entropy of a batch, plus the losses of the gates."""
    output = model(inputs.contiguous(memory_format=torch.channels_last))
    loss = F.cross_entropy(output.logits, labels, label_smoothing=schedule.label_smoothing)
    reach = torch.ones(len(labels))
    gate_loss: torch.Tensor | float = 0.0
    for gate, gate_output in zip(model.cut_gates, output.gates, strict=True):
        context = GateContext(
            positive=features.positive[labels],
            weight=reach,
            final=output.logits,
            errors=lambda logits: F.cross_entropy(logits, labels, reduction="none"),
            alpha=settings.alpha,
            beta=settings.beta,
            distillation=settings.distillation,
        )
        gate_loss = gate_loss + gate.loss(gate_output, context)
        reach = reach * torch.sigmoid(gate_output.logit.detach()).clamp(min=MIN_REACH)
    return loss + gate_loss


def build_optimizer(model: GatedModel, schedule: Schedule, settings: GateSettings) -> torch.optim.Optimizer:
    """Return AdamW; masks of gates and heads of gates have learning rates of their own."""
    masks = [mask for gate in model.cut_gates for mask in gate.control_parameters()]
    listed = {id(mask) for mask in masks}
    heads = [weight for weight in model.gates.parameters() if id(weight) not in listed]
    listed |= {id(weight) for weight in heads}
    others: list[nn.Parameter] = [weight for weight in model.parameters() if id(weight) not in listed]
    rate, decay = schedule.learning_rate, schedule.weight_decay
    return torch.optim.AdamW(
        [
            {"params": [weight for weight in others if weight.ndim > 1], "lr": rate, "weight_decay": decay},
            {"params": [weight for weight in others if weight.ndim <= 1], "lr": rate, "weight_decay": 0.0},
            {"params": heads, "lr": rate * settings.head_learning_rate_scale, "weight_decay": decay},
            {"params": masks, "lr": rate * settings.learning_rate_scale, "weight_decay": 0.0},
        ],
        fused=True,
    )


def learning_rate(step: int, schedule: Schedule, total: int) -> float:
    """Return the factor of the learning rate: it rises linearly, and then falls along half a cosine."""
    warmup = max(1, round(schedule.warmup * total))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
