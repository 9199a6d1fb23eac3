"""Tests of the gated model.

With open gates, the model equals its backbone. Samples that a gate stops skip later stages.
"""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from gatesearch.backbones.m_cifarnet import MCifarNet
from gatesearch.errors import UserError
from gatesearch.gates import LayerGate, params_of
from gatesearch.gates.fbs import FBSConv2d
from gatesearch.gates.gc import ChannelGC
from gatesearch.gates.pg import PGConv2d
from gatesearch.gates.thresholds import threshold_of_share
from gatesearch.graph.sites import cut_sites, layer_sites
from gatesearch.model import GatedModel, split
from gatesearch.plan import GatePlan, PlacedGate
from tests.nets import CLASSES, NETS, build, with_trained_statistics


def gated(model: nn.Module, shape: tuple[int, ...], names: Sequence[str] | None = None, **params) -> GatedModel:
    sites = cut_sites(model, torch.zeros(1, *shape))
    names = [site.name for site in sites] if names is None else names
    plan = GatePlan(tuple(PlacedGate.of("gc", name, **params) for name in names))
    return GatedModel(model, plan, sites, CLASSES)


class Count:
    """Counts the samples that reach each stage, and the samples in each call of a layer of that stage."""

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
    """Set thresholds that stop about half of the samples that arrive at each gate.

    Each threshold lies between the logits of two samples, because rounding depends on the batch size.
    """
    alive = torch.ones(len(x), dtype=torch.bool)
    for k, output in enumerate(model.eval()(x).gates):
        theta = model.gate(k).theta.fill_(threshold_of_share(output.logit[alive], 0.5))
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


def test_if_all_samples_are_stopped_later_stages_do_not_run():
    backbone, shape = build("ds_cnn")
    model = gated(backbone, shape, names=("stem", "blocks.0")).eval()
    model.gate(0).theta.fill_(math.inf)
    counter = Count(model)
    cascade = model.cascade(torch.randn(5, *shape))
    assert counter.samples == [5, 0, 0]
    assert (cascade.exit == 0).all()
    assert cascade.logits.isnan().all() and cascade.gate_logits[:, 1].isnan().all()


@pytest.mark.parametrize("name", NETS)
def test_the_hard_cascade_equals_the_soft_forward_for_samples_that_pass(name):
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
    assert counts[0] == 0  # the first gate is at the input, so no layer comes before it
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


IMAGE = (1, 8, 8)
CUTS = (PlacedGate.of("gc", "conv1", keep=0.5), PlacedGate.of("gc", "conv4", keep=0.5))
AT_LAYERS = (
    PlacedGate.of("pg", "conv1.0", bits=8, high_bits=4, mask="m1"),
    PlacedGate.of("fbs", "conv3.0", density=0.5),
    PlacedGate.of("fbs_pg", "conv6.0", density=0.75, bits=8, high_bits=4),
    PlacedGate.of("pg", "classifier", bits=8, high_bits=4),
)


def image_net() -> nn.Module:
    torch.manual_seed(0)
    net = MCifarNet(CLASSES, IMAGE, width=0.125)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # statistics over all batches; without this, samples differ too little
    return with_trained_statistics(net, IMAGE)


def with_layers(*gates: PlacedGate, backbone: nn.Module | None = None) -> GatedModel:
    """Put gates at cut sites and layer sites into a small image network; set the ranges of PG gates from one batch."""
    backbone, x = backbone or image_net(), torch.zeros(1, *IMAGE)
    plan = GatePlan(gates)
    model = GatedModel(backbone, plan, cut_sites(backbone, x), CLASSES, layers=layer_sites(backbone, x))
    for gate in model.layer_gates.values():
        gate.train()  # type: ignore[attr-defined]
    with torch.no_grad():
        model(torch.randn(16, *IMAGE, generator=torch.Generator().manual_seed(1)))
    return model.eval()


def test_cut_gates_and_layer_gates_stand_where_the_plan_says():
    backbone = image_net()
    model = with_layers(*CUTS, *AT_LAYERS, backbone=backbone)
    assert len(model.stages) == 3 and len(model.gates) == 2
    assert list(model.layer_gates) == [gate.site for gate in AT_LAYERS]
    assert [type(gate).__name__ for gate in model.layer_gates.values()] == [
        "PGConv2d", "FBSConv2d", "FBSConv2d", "PGLinear",
    ]  # fmt: skip
    # conv1.0 is before the cut at conv1, conv3.0 is between the cuts at conv1 and conv4, the others are after both.
    result = [[name for name in model.layer_gates if name in dict(s.named_modules())] for s in model.stages]
    assert result == [["conv1.0"], ["conv3.0"], ["conv6.0", "classifier"]]
    assert all(isinstance(gate, LayerGate) for gate in model.layer_gates.values())
    assert all(gate is model.layer_gates[name] for name, gate in model.layer_gates.items())
    counts = [sum(p.numel() for p in stage.parameters()) for stage in model.stages]
    assert sum(counts) + sum(p.numel() for p in model.gates.parameters()) == sum(p.numel() for p in model.parameters())
    assert type(backbone.get_submodule("conv1.0")) is nn.Conv2d  # the backbone is copied


def test_only_a_gate_that_absorbs_the_norm_replaces_it():
    model = with_layers(*AT_LAYERS)
    modules = dict(model.stages[0].named_modules())
    assert isinstance(modules["conv1.1"], nn.BatchNorm2d)
    assert type(modules["conv3.1"]) is type(modules["conv6.1"]) is nn.Identity
    assert isinstance(modules["conv3.0"].norm, nn.BatchNorm2d) and not modules["conv3.0"].norm.affine


def test_feature_boosting_at_density_one_equals_the_backbone_with_its_norm():
    backbone, x, one = image_net(), torch.randn(6, *IMAGE), torch.zeros(1, *IMAGE)
    with torch.no_grad():
        backbone.get_submodule("conv3.1").weight[::2] *= -1
    plan = GatePlan((PlacedGate.of("fbs", "conv3.0", density=1.0),))
    model = GatedModel(backbone, plan, (), CLASSES, layers=layer_sites(backbone, one)).eval()
    with torch.no_grad():  # without its random weights the predictor returns |gamma| of the norm
        model.layer_gates["conv3.0"].predictor.weight.zero_()
    torch.testing.assert_close(model(x).logits, backbone(x), atol=1e-4, rtol=1e-4)
    assert model(x).logits.std(0).min() > 0.01  # outputs differ between samples, so the comparison above is not trivial


def test_layer_gates_do_not_change_the_stages():
    x, open_cuts = torch.randn(6, *IMAGE), [PlacedGate.of("gc", cut.site, keep=1.0) for cut in CUTS]
    whole, cut = with_layers(*AT_LAYERS), with_layers(*open_cuts, *AT_LAYERS)
    for name, gate in cut.layer_gates.items():  # predictors start with random weights
        gate.load_state_dict(whole.layer_gates[name].state_dict())
    assert torch.equal(cut(x).logits, whole(x).logits)
    assert torch.equal(cut.cascade(x).logits, whole.cascade(x).logits)


def test_the_hard_cascade_equals_the_soft_forward_with_layer_gates_as_well():
    x = torch.randn(40, *IMAGE)
    model = with_median_thresholds(with_layers(*CUTS, *AT_LAYERS), x)
    for gate in model.layer_gates.values():
        gate.reset()
    soft = model(x)
    assert model.layer_gates["conv6.0"].report()["winners_per_sample"] == 24  # of 32 channels
    for gate in model.layer_gates.values():
        gate.reset()
    hard = model.cascade(x)
    reached = [int((hard.exit >= k).sum()) for k in range(3)]
    assert 40 > reached[1] > reached[2] > 0
    through = hard.exit == 2
    torch.testing.assert_close(hard.logits[through], soft.logits[through], atol=1e-4, rtol=1e-4)
    # A gate in a later stage counts only the outputs of samples that reach it.
    outputs = {name: gate.report().get("outputs") for name, gate in model.layer_gates.items()}
    sizes = {site.name: site.elements for site in model.layer_sites}
    assert outputs == {
        "conv1.0": reached[0] * sizes["conv1.0"],
        "conv3.0": None,
        "conv6.0": reached[2] * sizes["conv6.0"],
        "classifier": reached[2] * sizes["classifier"],
    }


def test_training_reaches_every_gate_and_its_losses():
    model = with_layers(*CUTS, *AT_LAYERS).train()
    output = model(torch.randn(8, *IMAGE))
    losses = {name: gate.loss() for name, gate in model.layer_gates.items()}
    assert all(loss.shape == () and loss.isfinite() for loss in losses.values())
    (output.logits.square().mean() + sum(losses.values())).backward()
    for name, gate in model.layer_gates.items():
        controls = list(gate.control_parameters())
        assert all(p.grad is not None and p.grad.isfinite().all() for p in controls), name
        assert {id(p) for p in controls} <= {id(p) for p in model.parameters()}


@pytest.mark.parametrize("trained", [False, True])
def test_a_deep_copy_is_another_model_that_does_the_same(trained):
    x, model = torch.randn(6, *IMAGE), with_layers(*CUTS, *AT_LAYERS)
    if trained:  # some gates then hold tensors with the graph of the last forward pass
        model.train()(x).logits.sum().backward()
        model.eval()
    again = copy.deepcopy(model)
    assert torch.equal(again(x).logits, model(x).logits)
    own = {id(p) for p in model.parameters()}
    assert not any(id(p) in own for p in again.parameters())
    assert all(gate is not model.layer_gates[name] for name, gate in again.layer_gates.items())
    with torch.no_grad():
        again.layer_gates["conv1.0"].threshold.fill_(math.inf)
    before = model(x).logits
    assert not torch.equal(again(x).logits, before) and torch.equal(model(x).logits, before)


def test_a_checkpoint_holds_weights_and_observations_of_layer_gates():
    x, file = torch.randn(6, *IMAGE), io.BytesIO()
    model = with_layers(*CUTS, *AT_LAYERS)
    with torch.no_grad():
        for gate in model.layer_gates.values():
            for parameter in gate.control_parameters():
                parameter.mul_(0.9).add_(0.01)
    torch.save(model.state_dict(), file)
    file.seek(0)
    backbone, one = image_net(), torch.zeros(1, *IMAGE)
    again = GatedModel(backbone, model.plan, cut_sites(backbone, one), CLASSES, layers=layer_sites(backbone, one))
    again.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(again.eval()(x).logits, model(x).logits)
    assert again.layer_gates["conv3.0"].report() == {"density": 0.5, "winners_per_sample": 8.0, "nonzero": 0.5}


@pytest.mark.parametrize(
    ("gates", "line"),
    [
        ((AT_LAYERS[0], CUTS[0]), "plan: gates at cut sites come first, gates at layer sites behind them"),
        ((AT_LAYERS[1], AT_LAYERS[0]), "plan: gate 2 at 'conv1.0' comes after 'conv3.0', which data meets later"),
        ((CUTS[1], *AT_LAYERS[1::-1]), "plan: gate 3 at 'conv1.0' comes after 'conv3.0', which data meets later"),
        ((CUTS[1], CUTS[0], AT_LAYERS[0]), "plan: gate 2 at 'conv1' comes after 'conv4', which data meets later"),
        (
            (AT_LAYERS[0], PlacedGate.of("fbs", "conv1.0", density=0.5)),
            "plan: two gates, pg and fbs, in the place of 'conv1.0'",
        ),
        ((PlacedGate.of("pg", "conv9.0"),), "plan: unknown site 'conv9.0'; nearest: 'conv"),
        ((PlacedGate.of("pg", "conv1"),), "plan: unknown site 'conv1'; nearest: 'conv1.0'"),
        ((PlacedGate.of("gc", "conv1.0"),), "plan: unknown site 'conv1.0'; nearest: 'conv1'"),
        ((PlacedGate.of("pgg", "conv1.0"),), "plan: unknown gate kind 'pgg'; nearest: 'pg'"),
        ((PlacedGate.of("fbs", "classifier"),), "fbs gate at classifier: needs a convolution without groups, not Lin"),
        ((PlacedGate.of("pg", "conv1.0", bits=99),), "pg gate at conv1.0: bits: 99 is not a whole number from 1 to 16"),
    ],
)
def test_impossible_plans_with_layer_gates_are_refused(gates, line):
    with pytest.raises(UserError) as error:
        with_layers(*gates)
    assert str(error.value).startswith(line) and "\n" not in str(error.value)


def test_kinds_are_looked_up_by_the_type_of_their_site():
    model = with_layers(*CUTS, *AT_LAYERS)
    assert isinstance(model.layer_gates["conv1.0"], PGConv2d) and isinstance(model.layer_gates["conv3.0"], FBSConv2d)
    with pytest.raises(UserError, match="plan: 'pg' is a gate for layer sites, not for cut sites"):
        params_of(model.sites[0], PlacedGate.of("pg", "stem"))
    with pytest.raises(UserError, match="plan: 'gc' is a gate for cut sites, not for layer sites"):
        params_of(model.layer_sites[0], PlacedGate.of("gc", "conv1.0"))
