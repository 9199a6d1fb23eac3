"""Trains a network of the ``hmd`` benchmark (hybrid matrix decomposition) with AdamW, and scores it on a split.

After a training, the network has the weights that were best on the validation split.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_f1_score

from gatesearch.gates.matrices import END, PrunedMatrix
from gatesearch.model import GatedModel
from results.hmd.protocol import Protocol
from results.hmd.tasks import WINDOW, Task

CHECKS = 8  # checks on the validation split in a training of the language model; other tasks have one per epoch
CLIP = 1.0  # largest norm of the gradient
WARMUP = 0.1  # share of the training in which the learning rate rises
BATCH = 256  # inputs in a batch of an evaluation


class Score(NamedTuple):
    """The scores of a model on a split.

    Args:
        better: a number that is higher for a better model: the accuracy, or the negative of the bits per character.
        quality: accuracy as a share; for the language model, bits per character.
        f1: mean of the F1 scores of the classes; None for the language model.
    """

    better: float
    quality: float
    f1: float | None


def train(model: GatedModel, task: Task, protocol: Protocol, seed: int) -> int:
    """Train a model in place, and load the weights that were best on the validation split.

    Returns:
        The number of the check at which these weights were scored.
    """
    torch.manual_seed(seed)
    epochs = {"kws_lstm": protocol.kws_epochs, "kws_gru": protocol.kws_epochs, "har_bilstm": protocol.har_epochs}
    windows = len(task.splits["train"][1])
    per_check = max(1, windows // protocol.batch_size)
    checks = epochs.get(task.name, CHECKS)
    if task.is_language:
        per_check = max(1, protocol.lm_steps // CHECKS)
    total = checks * per_check
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": protocol.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=protocol.rate)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _factor(step / total))
    smoothing = 0.0 if task.is_language else protocol.label_smoothing
    best, best_state, best_check = -math.inf, copy.deepcopy(model.state_dict()), 0
    for check in range(checks):
        model.train()
        for step, (inputs, labels) in enumerate(_batches(task, protocol.batch_size, per_check)):
            for gate in model.layer_gates.values():
                gate.anneal((check * per_check + step) / max(1, total - 1))
            logits = model(inputs).logits
            loss = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), label_smoothing=smoothing)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            scheduler.step()
        better = score(model, task, "validation").better
        # Pruning ends after seven tenths of a training. Earlier weights have too many elements, so they never count as
        # the best.
        if (check + 1) / checks > _settled(model) and better > best:
            best, best_state, best_check = better, copy.deepcopy(model.state_dict()), check + 1
    model.load_state_dict(best_state)
    return best_check


@torch.no_grad()
def score(model: GatedModel, task: Task, split: str) -> Score:
    """Return the scores on a split; the model stays in evaluation mode."""
    model.eval()
    inputs, labels = task.splits[split]
    if task.is_language:
        count = (len(inputs) - 1) // WINDOW
        end = count * WINDOW
        inputs, labels = inputs[:end].view(count, WINDOW), labels[1 : end + 1].view(count, WINDOW)
    logits = torch.cat([model(chunk).logits for chunk in inputs.split(BATCH)])
    if task.is_language:
        bits = float(F.cross_entropy(logits.flatten(0, 1), labels.flatten())) / math.log(2)
        return Score(-bits, bits, None)
    accuracy = float((logits.argmax(1) == labels).double().mean())
    f1 = float(multiclass_f1_score(logits, labels, logits.shape[1], average="macro"))
    return Score(accuracy, accuracy, f1)


def _batches(task: Task, size: int, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    inputs, labels = task.splits["train"]
    if task.is_language:
        for _ in range(count):
            starts = torch.randint(len(inputs) - WINDOW, (size,))
            at = starts[:, None] + torch.arange(WINDOW)
            yield inputs[at], labels[at + 1]
        return
    for batch in torch.randperm(len(labels)).split(size)[:count]:
        yield inputs[batch], labels[batch]


def _factor(done: float) -> float:
    if done < WARMUP:
        return max(0.01, done / WARMUP)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - WARMUP) / (1 - WARMUP))))


def _settled(model: GatedModel) -> float:
    """Return the share of a training after which a model has its final number of parameters."""
    return END if any(isinstance(module, PrunedMatrix) for module in model.modules()) else 0.0
