"""Tests of the trainings of dsg, the precision-gating benchmark: exact resumption, schedules, weight decay."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from gatesearch.backbones.m_cifarnet import MCifarNet
from gatesearch.frontends import Normalise
from gatesearch.graph.sites import LayerSite, layer_sites
from gatesearch.model import GatedModel
from gatesearch.pipeline.run_dir import RunFolder
from results.dsg import measure
from results.dsg.protocol import SHORT
from results.dsg.rows import SPECS, Spec
from results.dsg.threshold_shift import TOLERANCE, shift_thresholds
from results.dsg.train import Images, Training, quantised, start_clips, train

PROTOCOL = SHORT.model_copy(update={"width": 0.0625, "batch_size": 8, "epochs": 2, "dropout": 0.5})


@pytest.fixture
def images() -> Images:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(256, (52, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return Images(inputs, torch.arange(52) % 10, Normalise().fit(inputs))


def build(spec: Spec) -> tuple[GatedModel, tuple[LayerSite, ...]]:
    torch.manual_seed(0)
    net = MCifarNet(width=PROTOCOL.width, dropout=PROTOCOL.dropout)
    sites = layer_sites(net, torch.zeros(1, 3, 32, 32))
    return GatedModel(net, spec.plan(sites), (), 10, layers=sites), sites


@pytest.mark.parametrize("broken_at", [2, 7])
def test_a_resumed_training_is_the_same_bit_for_bit(images: Images, broken_at: int, tmp_path: Path) -> None:
    spec = SPECS["hybrid-8-4-d0.7"]
    whole = Training(build(spec)[0], images, PROTOCOL, "", seed=3)
    train(whole, RunFolder(tmp_path / "whole"), "row")
    assert (whole.per_epoch, whole.total, whole.leg) == (6, 12, 2)

    first = Training(build(spec)[0], images, PROTOCOL, "", seed=3)

    def stop() -> None:
        if first.step > broken_at:
            raise KeyboardInterrupt

    folder = RunFolder(tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        train(first, folder, "row", stop)
    torch.manual_seed(99)  # as in another process
    second = Training(build(spec)[0], images, PROTOCOL, "", seed=3)
    progress: list[int] = []
    train(second, folder, "row", lambda: progress.append(second.step))
    assert progress[0] == (4 if broken_at == 2 else 8) and progress[-1] == 12
    before, after = whole.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    start = build(spec)[0].state_dict()
    assert not torch.equal(before["stages.0.conv1.0.inner.layer.weight"], start["stages.0.conv1.0.inner.layer.weight"])


def test_every_epoch_sees_every_image_in_another_order(images: Images) -> None:
    training = Training(build(SPECS["unquantised"])[0], images, PROTOCOL, "", seed=0)
    orders = []
    for training.step in (0, 6):
        orders.append(torch.cat(list(training._order())))
    assert all(len(set(order.tolist())) == len(order) == 48 for order in orders)
    assert not torch.equal(*orders)
    training.step = 8
    assert torch.equal(torch.cat(list(training._order())), orders[1][16:])


def test_gates_receive_the_progress_of_the_training(images: Images) -> None:
    model, _ = build(SPECS["fbs-d0.5"])
    training = Training(model, images, PROTOCOL, "", seed=0)
    densities = []
    while training.step < training.total:
        training.train_leg()
        densities.append(training.gates[1]._training_density)  # type: ignore[attr-defined]
    assert densities[0] > 0.8 and densities[-1] == 0.5 and densities == sorted(densities, reverse=True)


def test_only_weights_and_clips_have_weight_decay(images: Images) -> None:
    model, _ = build(SPECS["hybrid-8-4-d0.7"])
    protocol = PROTOCOL.model_copy(update={"weight_decay": 0.1, "clip_decay": 0.2})
    decayed = {
        id(p): group["weight_decay"]
        for group in Training(model, images, protocol, "", 0).optimizer.param_groups
        for p in group["params"]
    }
    decay = {name: decayed[id(p)] for name, p in model.named_parameters()}
    assert len(decay) == len(decayed)
    prefix = "stages.0.conv1.0"
    assert decay[f"{prefix}.inner.layer.weight"] == 0.1 and decay["stages.0.classifier.weight"] == 0.1
    assert decay[f"{prefix}.inner.range.alpha"] == 0.2
    assert decay[f"{prefix}.inner.threshold"] == decay[f"{prefix}.beta"] == decay["stages.0.classifier.bias"] == 0.0


def test_clips_start_at_a_share_of_the_largest_activation(images: Images) -> None:
    model, _ = build(SPECS["mask-3d"])
    full, part = copy.deepcopy(model), copy.deepcopy(model)
    statistics = model.stages[0].get_submodule("conv1.1").running_mean.clone()  # type: ignore[operator, union-attr]
    inputs = next(images.batches())[0]
    start_clips(full, inputs, 1.0)
    start_clips(part, inputs, 0.25)
    for one, other in zip(quantised(full), quantised(part), strict=True):
        assert other.range.alpha.item() == pytest.approx(0.25 * one.range.alpha.item())
    assert torch.equal(part.stages[0].get_submodule("conv1.1").running_mean, statistics)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "goal"), [("equal-3d", 4.5), ("equal-m1", 6.0), ("equal-m2-8", 4.0), ("hybrid-8-4-x1.92", 5.0)]
)
def test_the_target_is_adjusted_until_the_bits_reach_their_goal(images: Images, name: str, goal: float) -> None:
    spec = SPECS[name]
    model, sites = build(spec)
    start_clips(model, next(images.batches())[0], 0.5)
    for layer in quantised(model):
        torch.nn.init.normal_(layer.threshold, std=0.02)
    some = images.first(12)

    def bits() -> float:
        return measure.observed_bits(spec, measure.sparsity(measure.observe(model, some)[1], sites)) or 0.0

    before = [layer.threshold.detach().clone() for layer in quantised(model)]
    shift = shift_thresholds(model, goal, bits)
    assert bits() == pytest.approx(goal, abs=TOLERANCE)
    for layer, threshold in zip(quantised(model), before, strict=True):
        assert torch.equal(layer.threshold, threshold + shift) and layer.settings.target == shift
    assert shift_thresholds(model, goal, bits) == 0.0


def test_the_adjustment_ends_if_the_goal_is_out_of_reach(images: Images) -> None:
    model, _ = build(SPECS["mask-3d"])
    assert shift_thresholds(model, 1.0, lambda: 2.0) > 100


def test_the_bits_fall_in_equal_steps_and_then_stay(images: Images) -> None:
    training = Training(build(SPECS["unquantised"])[0], images, PROTOCOL, "", seed=0)
    now, path = 8.0, []
    for training.step in (2, 4, 6, 8, 10, 12):
        now += (4.0 - now) / training.legs_to_half
        path.append(now)
    assert path == pytest.approx([8 - 4 / 3, 8 - 8 / 3, 4, 4, 4, 4])
