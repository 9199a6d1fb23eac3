from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import pytest
import torch
from nets import CLASSES, NETS, build
from torch import Tensor, nn

from gatesearch.errors import UserError
from gatesearch.gated import GatedModel, split
from gatesearch.gates.gc import ChannelGC
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.sites import cut_sites


def gated(model: nn.Module, shape: tuple[int, ...], names: Sequence[str] | None = None, **params) -> GatedModel:
    sites = cut_sites(model, torch.zeros(1, *shape))
    chosen = [site.name for site in sites] if names is None else names
    plan = GatePlan(tuple(PlacedGate.of("gc", name, **params) for name in chosen))
    return GatedModel(model, plan, sites, CLASSES)


class Count:
    """Counts the samples that each stage, and each layer inside it, is given."""

    def __init__(self, model: GatedModel) -> None:
        self.samples = [0] * len(model.stages)
        self.layers: list[list[int]] = [[] for _ in model.stages]
        for k, stage in enumerate(model.stages):
            stage.register_forward_pre_hook(lambda _, args, k=k: self.stage(k, args[0]))
            for layer in stage.modules():
                if isinstance(layer, nn.Conv2d | nn.Conv1d | nn.Linear):
                    layer.register_forward_pre_hook(lambda _, args, k=k: self.layers[k].append(len(args[0])))

    def stage(self, k: int, inputs: Tensor) -> None:
        self.samples[k] += len(inputs)


def with_median_thresholds(model: GatedModel, x: Tensor) -> GatedModel:
    """Stop about half of what arrives at each gate."""
    alive = torch.ones(len(x), dtype=torch.bool)
    for k, output in enumerate(model.eval()(x).gates):
        theta = output.logit[alive].median()
        model.gate(k).theta.copy_(theta)
        alive &= output.logit > theta
    return model


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("training", [True, False])
def test_gate_forced_open_and_mask_all_ones_is_the_backbone_bit_for_bit(name, training):
    backbone, shape = build(name)
    x = torch.randn(6, *shape)
    model = gated(backbone, shape, keep=1.0).train(training)
    reference = copy.deepcopy(backbone).train(training)
    torch.manual_seed(7)
    expected = reference(x)
    torch.manual_seed(7)
    assert torch.equal(model(x).logits, expected)
    assert all(float(model.gate(k).theta) == -math.inf for k in range(len(model.gates)))


@pytest.mark.parametrize("name", NETS)
def test_the_cascade_with_gates_forced_open_is_the_backbone_bit_for_bit(name):
    backbone, shape = build(name)
    x = torch.randn(6, *shape)
    cascade = gated(backbone, shape, keep=1.0).eval().cascade(x)
    assert torch.equal(cascade.logits, backbone(x))
    assert (cascade.exit == cascade.gate_logits.shape[1]).all()


@pytest.mark.parametrize("name", NETS)
def test_a_learned_mask_all_ones_is_the_backbone_bit_for_bit(name):
    backbone, shape = build(name)
    x = torch.randn(6, *shape)
    model = gated(backbone, shape, keep=None).eval()
    for gate in model.gates:
        assert isinstance(gate, ChannelGC)
        nn.init.constant_(gate.mask_logits, 0.3)
    assert torch.equal(model(x).logits, backbone(x))


@pytest.mark.parametrize("name", NETS)
def test_the_empty_plan_is_the_ungated_backbone_bit_for_bit(name):
    backbone, shape = build(name)
    x = torch.randn(6, *shape)
    model = gated(backbone, shape, names=()).eval()
    assert len(model.stages) == 1
    assert torch.equal(model(x).logits, backbone(x))
    assert torch.equal(model.cascade(x).logits, backbone(x))


@pytest.mark.parametrize("name", NETS)
def test_stopped_samples_never_touch_later_stages(name):
    backbone, shape = build(name)
    x = torch.randn(40, *shape)
    model = with_median_thresholds(gated(backbone, shape, keep=0.5), x)
    counter = Count(model)
    cascade = model.cascade(x)
    reached = [int((cascade.exit >= k).sum()) for k in range(len(model.stages))]
    while reached[-1] == 0:
        reached.pop()
    assert reached[0] == 40 and reached[1] < 40
    assert counter.samples == reached + [0] * (len(model.stages) - len(reached))
    for k, layers in enumerate(counter.layers):
        assert set(layers) <= {counter.samples[k]}


def test_where_all_are_stopped_the_later_stages_do_not_run():
    backbone, shape = build("ds_cnn")
    model = gated(backbone, shape, names=("stem", "blocks.0")).eval()
    model.gate(0).theta.fill_(math.inf)
    counter = Count(model)
    cascade = model.cascade(torch.randn(5, *shape))
    assert counter.samples == [5, 0, 0]
    assert (cascade.exit == 0).all()
    assert cascade.logits.isnan().all() and cascade.gate_logits[:, 1].isnan().all()


@pytest.mark.parametrize("name", NETS)
def test_the_hard_cascade_is_the_soft_forward_with_samples_left_out(name):
    backbone, shape = build(name)
    x = torch.randn(40, *shape)
    model = with_median_thresholds(gated(backbone, shape, keep=0.5), x)
    soft, hard = model(x), model.cascade(x)
    logits = torch.stack([output.logit for output in soft.gates], 1)
    thresholds = torch.stack([model.gate(k).theta for k in range(len(model.gates))])
    stops = logits <= thresholds
    first = torch.where(stops.any(1), stops.float().argmax(1), len(thresholds))
    assert torch.equal(hard.exit, first)
    for k in range(len(thresholds)):
        torch.testing.assert_close(hard.gate_logits[first >= k, k], logits[first >= k, k], atol=1e-4, rtol=1e-4)
        assert hard.gate_logits[first < k, k].isnan().all()
    through = first == len(thresholds)
    torch.testing.assert_close(hard.logits[through], soft.logits[through], atol=1e-4, rtol=1e-4)
    assert hard.logits[~through].isnan().all()


def test_a_logit_equal_to_theta_stops():
    backbone, shape = build("ds_cnn")
    model, x = gated(backbone, shape, names=("stem",)).eval(), torch.randn(1, *shape)
    logit = model(x).gates[0].logit.detach()
    model.gate(0).theta.copy_(logit[0])
    assert model.cascade(x).exit.tolist() == [0]


def test_the_backbone_is_copied_and_not_changed():
    backbone, shape = build("resnet")
    state = copy.deepcopy(backbone.state_dict())
    model = gated(backbone, shape, keep=0.5).train()
    model(torch.randn(8, *shape)).logits.sum().backward()
    assert all(torch.equal(state[name], value) for name, value in backbone.state_dict().items())
    assert all(parameter.grad is None for parameter in backbone.parameters())
    own = {id(parameter) for parameter in model.parameters()}
    assert not any(id(parameter) in own for parameter in backbone.parameters())


def test_every_parameter_of_the_backbone_is_in_exactly_one_stage():
    backbone, shape = build("resnet")
    model = gated(backbone, shape, keep=1.0)
    counts = [sum(p.numel() for p in stage.parameters()) for stage in model.stages]
    assert sum(counts) == sum(p.numel() for p in backbone.parameters())
    assert counts[0] == 0  # the gate stands on the input
    assert counts[1:-1] == [
        after.params_before - before.params_before
        for before, after in zip(model.sites[:-1], model.sites[1:], strict=True)
    ]


def test_split_shares_modules_with_the_backbone():
    backbone, shape = build("ds_cnn")
    sites = cut_sites(backbone, torch.zeros(1, *shape))
    stages = split(backbone, [sites[2].node])
    shared = {id(p) for stage in stages for p in stage.parameters()}
    assert shared == {id(p) for p in backbone.parameters()}


def test_two_gates_at_one_site_have_an_empty_stage_between_them():
    backbone, shape = build("ds_cnn")
    x = torch.randn(4, *shape)
    model = gated(backbone, shape, names=("stem", "stem"), keep=1.0).eval()
    assert torch.equal(model.stages[1](x), x)
    assert torch.equal(model(x).logits, backbone(x))


def test_a_plan_with_an_unknown_site_or_kind_or_out_of_order_is_refused():
    backbone, shape = build("ds_cnn")
    sites = cut_sites(backbone, torch.zeros(1, *shape))
    with pytest.raises(UserError, match=r"unknown site 'block\.0'; nearest: 'blocks\.0'"):
        GatedModel(backbone, GatePlan((PlacedGate.of("gc", "block.0"),)), sites, CLASSES)
    with pytest.raises(UserError, match="unknown gate kind 'gcc'; nearest: 'gc'"):
        GatedModel(backbone, GatePlan((PlacedGate.of("gcc", "stem"),)), sites, CLASSES)
    backwards = GatePlan((PlacedGate.of("gc", "blocks.0"), PlacedGate.of("gc", "stem")))
    with pytest.raises(UserError, match=r"gate 2 at 'stem' comes after 'blocks\.0', which data meets later"):
        GatedModel(backbone, backwards, sites, CLASSES)


def test_saliency_decides_which_channels_a_mask_starts_with():
    backbone, shape = build("ds_cnn")
    sites = cut_sites(backbone, torch.zeros(1, *shape))
    plan = GatePlan((PlacedGate.of("gc", "stem", keep=0.25), PlacedGate.of("gc", "blocks.0", keep=0.25)))
    importance = torch.tensor([0.0, 3.0, 1.0, 0.5, 0.2, 9.0, 0.1, 0.3])
    model = GatedModel(backbone, plan, sites, CLASSES, {"stem": importance})
    assert model.gate(0).lower().channels == [1, 5]
    assert model.gate(1).lower().channels == [0, 1]


def test_a_checkpoint_holds_thresholds_and_answers():
    backbone, shape = build("ds_cnn")
    model, x = gated(backbone, shape, names=("stem", "blocks.0"), keep=0.5), torch.randn(20, *shape)
    with_median_thresholds(model, x)
    model.answers.copy_(torch.tensor([2, 1]))
    again = gated(build("ds_cnn")[0], shape, names=("stem", "blocks.0"), keep=0.5).eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.cascade(x).exit, model.cascade(x).exit)
    assert again.answers.tolist() == [2, 1]
