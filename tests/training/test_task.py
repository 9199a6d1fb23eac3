"""Tests of the training task: learning rates and weight decay of its parameter groups, schedule, and loss."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from gatesearch._lib.tensors import channels_last
from gatesearch.gates import GateContext
from gatesearch.graph.sites import cut_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.training import Features, GatedTask, GateSettings, Schedule
from gatesearch.training.goals import Classification
from tests.nets import CLASSES, build


def task(schedule: Schedule, gates: GateSettings, **params) -> GatedTask:
    backbone, shape = build("ds_cnn")
    sites = cut_sites(backbone, torch.zeros(1, *shape))
    placed = (PlacedGate.of("gc", "stem", **params), PlacedGate.of("gc", "blocks.0", **params))
    model = GatedModel(backbone, GatePlan(placed), sites, CLASSES)
    positive = torch.tensor([True, False, False])
    goal = Classification(positive, ("positive", "unknown", "silence"))
    return GatedTask(model, goal, positive, torch.ones(3), schedule, gates)


class FakeTrainer:
    estimated_stepping_batches, max_epochs = 40, Schedule().epochs


def test_masks_and_heads_have_rates_of_their_own_and_masks_no_decay():
    rates = GateSettings(learning_rate_scale=25.0, head_learning_rate_scale=10.0)
    gated = task(Schedule(learning_rate=1e-3, weight_decay=0.01), rates, keep=0.5)
    gated._trainer = FakeTrainer()
    optimizer = gated.configure_optimizers()["optimizer"]
    decayed, no_decay, gate_weights, controls = optimizer.param_groups
    masks = {id(gated.model.gate(k).mask_logits) for k in range(2)}
    assert {id(p) for p in controls["params"]} == masks
    assert controls["initial_lr"] == pytest.approx(25e-3) and controls["weight_decay"] == 0.0
    assert {id(p) for p in gate_weights["params"]} == {id(p) for p in gated.model.gates.parameters()} - masks
    assert gate_weights["initial_lr"] == pytest.approx(1e-2)
    assert decayed["weight_decay"] == 0.01 and all(p.ndim > 1 for p in decayed["params"])
    assert no_decay["weight_decay"] == 0.0 and no_decay["initial_lr"] == pytest.approx(1e-3)
    counted = sum(len(group["params"]) for group in optimizer.param_groups)
    assert counted == len(list(gated.model.parameters()))


def test_the_rate_rises_to_its_peak_and_falls_to_zero_along_half_a_cosine():
    gated = task(Schedule(learning_rate=1.0, warmup=0.1), GateSettings())
    gated._trainer = FakeTrainer()
    factor = gated.configure_optimizers()["lr_scheduler"]["scheduler"].lr_lambdas[0]
    assert [factor(step) for step in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert factor(4) == pytest.approx(1.0)
    assert factor(22) == pytest.approx(0.5)
    assert factor(40) == pytest.approx(0.0)


@pytest.mark.parametrize("alpha", [0.0, 2.0])
def test_the_loss_is_cross_entropy_plus_the_loss_of_each_gate(features: Features, alpha, monkeypatch):
    gated = task(Schedule(label_smoothing=0.1), GateSettings(alpha=alpha, beta=0.5), keep=None)
    monkeypatch.setattr(gated, "log", lambda *_, **__: None)
    gated.eval()
    x, y = features.train.features[:30], features.train.labels[:30]
    loss = gated.training_step((x, y), 0)
    output = gated.model(channels_last(x))
    expected = F.cross_entropy(output.logits, y, label_smoothing=0.1)
    weight = torch.ones(30)
    for k, own in enumerate(output.gates):
        context = GateContext(y == 0, alpha, 0.5, 0.1, weight, output.logits, lambda _: torch.zeros(30))
        expected = expected + gated.model.gate(k).loss(own, context)
        weight = weight * torch.sigmoid(own.logit).clamp(min=0.02).detach()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in gated.model.parameters() if p.grad is not None)


def test_a_gate_learns_to_pass_samples_that_the_network_accepts(features: Features, monkeypatch):
    gated = task(Schedule(), GateSettings(target="network"), keep=1.0)
    monkeypatch.setattr(gated, "log", lambda *_, **__: None)
    gated.eval()
    x, y = features.train.features[:30], features.train.labels[:30]
    output = gated.model(channels_last(x))
    posterior = output.logits.softmax(1)[:, 0]
    accepted = posterior > 0.3
    targets = []
    for gate in gated.model.cut_gates:
        monkeypatch.setattr(gate, "loss", lambda own, context: targets.append(context.positive) or own.logit.sum() * 0)
    gated.gate_losses(gated.model.cut_gates, output, x, y)
    assert all(torch.equal(positive, accepted) for positive in targets) and len(targets) == 2
    assert not any(positive.requires_grad for positive in targets)


def test_only_images_change_their_order_in_memory():
    image, line = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4)
    assert channels_last(image).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(channels_last(image), image)
    assert channels_last(line) is line
