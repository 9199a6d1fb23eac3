"""Tests of cut sites and layer sites of networks, with multiply-accumulates as counted by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch.backbones.ds_cnn import DSCNN
from gatesearch.backbones.m_cifarnet import MCifarNet
from gatesearch.backbones.resnet_cifar import resnet20
from gatesearch.errors import UserError
from gatesearch.gates import build_gate
from gatesearch.graph.sites import INPUT, CutSite, LayerSite, cut_sites, find, layer_sites, worthwhile
from gatesearch.graph.trace import trace
from gatesearch.model import split
from gatesearch.plan import PlacedGate
from tests.nets import NETS, BasicBlock, ResNet, build


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def test_sites_of_a_resnet_lie_after_each_block_and_never_inside_a_residual_branch():
    sites = cut_sites(ResNet(), torch.zeros(1, 3, 16, 16))
    assert [(site.name, site.shape) for site in sites] == [
        ("input", (3, 16, 16)),
        ("maxpool", (8, 8, 8)),
        ("layer1.0", (8, 8, 8)),
        ("layer1", (8, 8, 8)),
        ("layer2.0", (16, 4, 4)),
        ("flatten", (16,)),
    ]


def test_macs_and_parameters_of_a_resnet_equal_hand_counts():
    sites = {site.name: site for site in cut_sites(ResNet(), torch.zeros(1, 3, 16, 16))}
    stem, block = 8 * 3 * 9 * 16 * 16, 2 * 8 * 8 * 9 * 8 * 8
    narrowing = (16 * 8 * 9 + 16 * 16 * 9 + 16 * 8) * 4 * 4
    last_block, head = 2 * 16 * 16 * 9 * 4 * 4, 16 * 3
    total = stem + 2 * block + narrowing + last_block + head
    assert sites["input"].macs_before == 0
    assert sites["maxpool"].macs_before == stem
    assert sites["layer1.0"].macs_before == stem + block
    assert sites["layer1"].macs_before == stem + 2 * block
    assert sites["layer2.0"].macs_before == stem + 2 * block + narrowing
    assert sites["flatten"].macs_before == total - head
    assert all(site.macs_before + site.macs_after == total for site in sites.values())
    assert sites["maxpool"].params_before == 8 * 3 * 9 + 2 * 8
    assert sites["layer1.0"].params_before - sites["maxpool"].params_before == 2 * (8 * 8 * 9 + 2 * 8)
    assert sites["flatten"].params_after == 16 * 3 + 3


def test_macs_of_the_mlperf_tiny_ds_cnn_equal_hand_counts():
    sites = cut_sites(DSCNN(12), torch.zeros(1, 1, 49, 10))
    stem, block, head = 10 * 4 * 64 * 25 * 5, (9 * 64 + 64 * 64) * 25 * 5, 64 * 12
    assert sites[0].macs_after == stem + 4 * block + head
    after_blocks = {site.name: site.macs_before for site in sites if site.name.startswith("blocks.")}
    assert after_blocks["blocks.0"] == stem + block
    assert after_blocks["blocks.2"] == stem + 3 * block
    assert [site.name for site in sites][:2] == [INPUT, "stem"]
    assert find(sites, "stem").shape == (64, 25, 5)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_macs_and_parameters_do_not_depend_on_the_batch_size(batch):
    assert cut_sites(ResNet(), torch.zeros(batch, 3, 16, 16)) == cut_sites(ResNet(), torch.zeros(1, 3, 16, 16))


@pytest.mark.parametrize("name", NETS)
def test_stages_of_a_backbone_cut_at_every_site_compute_the_same_output(name):
    model, shape = build(name)
    x = torch.randn(3, *shape)
    sites = cut_sites(model, x)
    hidden = x
    for stage, site in zip(split(model, [site.node for site in sites]), [*sites, None], strict=True):
        hidden = stage(hidden)
        if site is not None:
            assert tuple(hidden.shape[1:]) == site.shape
    assert torch.equal(hidden, model(x))


@pytest.mark.parametrize("training", [True, False])
def test_cut_sites_does_not_change_the_model(training):
    model = ResNet().train(training)
    model.bn1.eval()  # one frozen normalisation layer, as in fine-tuning
    modes = [module.training for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    cut_sites(model, torch.randn(4, 3, 16, 16))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


def test_a_model_of_one_layer_has_a_cut_site_at_its_input_only():
    assert [site.name for site in cut_sites(nn.Linear(4, 2), torch.zeros(1, 4))] == [INPUT]


def test_cut_sites_lie_before_and_after_parallel_branches_but_not_inside():
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.left, self.right = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
            self.last = nn.Conv2d(8, 2, 1)

        def forward(self, x):
            shared = self.stem(x)
            return self.last(torch.cat([self.left(shared), self.right(shared)], 1))

    sites = cut_sites(Branches(), torch.zeros(1, 1, 3, 3))
    assert [(site.name, site.shape) for site in sites] == [
        ("input", (1, 3, 3)),
        ("stem", (4, 3, 3)),
        ("cat", (8, 3, 3)),
    ]


def test_no_cut_site_lies_parallel_to_a_skip_connection():
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.c(self.b(self.a(x)) + x)

    assert [site.name for site in cut_sites(Skip(), torch.zeros(1, 4))] == ["input", "add"]


def test_a_shared_parameter_counts_once():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.c(F.relu(self.b(F.relu(self.a(x)))))

    sites = cut_sites(Tied(), torch.zeros(1, 4))
    before, last = (4 * 4 + 4 + 4), 4 * 2 + 2
    assert [(site.params_before, site.params_after) for site in sites] == [
        (0, before + last),
        (4 * 4 + 4, 4 + last),
        (before, last),
    ]


def test_a_module_that_runs_twice_gives_two_sites_with_two_names():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 2)
            self.relu = nn.ReLU()

        def forward(self, x):
            return self.c(self.relu(self.b(self.relu(self.a(x)))))

    sites = cut_sites(Twice(), torch.zeros(1, 4))
    assert [(site.name, site.shape) for site in sites] == [("input", (4,)), ("relu", (5,)), ("relu_1", (6,))]
    assert all(find(sites, site.name) is site for site in sites)


def test_a_module_called_input_does_not_hide_the_input():
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.input, self.rest = nn.Linear(4, 3), nn.Linear(3, 2)

        def forward(self, x):
            return self.rest(self.input(x))

    sites = cut_sites(Named(), torch.zeros(1, 4))
    assert len({site.name for site in sites}) == len(sites) == 2
    assert find(sites, INPUT).shape == (4,)


def test_a_tensor_whose_first_axis_is_not_the_batch_is_no_cut_site():
    class TimeFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 2)

        def forward(self, x):  # [N, T, 4]
            hidden = self.a(x).transpose(0, 1)
            return self.b(hidden).mean(0)

    sites = cut_sites(TimeFirst(), torch.zeros(2, 7, 4))
    assert [(site.name, site.shape) for site in sites] == [(INPUT, (7, 4)), ("a", (7, 5))]


def test_stages_share_a_parameter_that_both_read():
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)
            self.scale = nn.Parameter(torch.tensor(2.0))

        def forward(self, x):
            scale = self.scale
            return self.b(self.a(x) * scale) * scale

    model, x = Scaled(), torch.randn(3, 4)
    sites = cut_sites(model, x)
    first, second = split(model, [sites[1].node])
    assert torch.equal(second(first(x)), model(x))
    second(first(x)).sum().backward()
    assert model.scale.grad is not None


def test_an_optional_second_argument_keeps_its_default():
    class Optional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x, scale=2.0):
            return self.b(self.a(x) * scale)

    model, x = Optional(), torch.randn(3, 4)
    assert cut_sites(model, x)[0].name == INPUT
    assert torch.equal(split(model, [])[0](x), model(x))


def test_a_backbone_with_two_inputs_is_refused_and_the_error_names_them():
    class Pair(nn.Module):
        def forward(self, audio, video):
            return audio + video

    with pytest.raises(UserError) as error:
        trace(Pair())
    assert one_line(error) == "backbone: Pair takes 2 inputs (audio, video); gates need exactly one"


def test_a_backbone_with_two_outputs_is_refused():
    class Heads(nn.Module):
        def forward(self, x):
            return x, x + 1

    with pytest.raises(UserError) as error:
        trace(Heads())
    assert one_line(error) == "backbone: Heads must return one tensor, the logits"


def test_data_dependent_control_flow_is_refused_in_one_line():
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(UserError) as error:
        trace(Branching())
    assert one_line(error).startswith("backbone: Branching cannot be traced by torch.fx: ")


@pytest.mark.parametrize("training", [True, False])
def test_dropout_outside_a_module_is_refused_because_a_trace_would_freeze_it(training):
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 2)

        def forward(self, x):
            return self.linear(F.dropout(x, 0.5, training=self.training))

    model = Functional().train(training)
    with pytest.raises(UserError, match=r"self\.training.*nn\.Dropout") as error:
        trace(model)
    one_line(error)
    assert model.training is training


def test_an_input_of_the_wrong_shape_is_refused_and_the_model_stays_in_training_mode():
    model = ResNet().train()
    with pytest.raises(UserError, match=r"does not accept an input of shape \(1, 1, 16, 16\)") as error:
        cut_sites(model, torch.zeros(1, 1, 16, 16))
    one_line(error)
    assert all(module.training for module in model.modules())


def test_the_error_for_an_unknown_site_names_the_nearest_site():
    sites = cut_sites(ResNet(), torch.zeros(1, 3, 16, 16))
    with pytest.raises(UserError, match=r"space\.sites: unknown site 'layer1_0'; nearest: 'layer1\.0'"):
        find(sites, "layer1_0", "space.sites")


def test_worthwhile_drops_a_site_with_too_little_work_before_or_after_it():
    def site(name: str, before: int) -> CutSite:
        return CutSite(name, (1,), before, 100 - before, 0, 0, name)

    sites = (site(INPUT, 0), site("a", 3), site("b", 12), site("c", 20), site("d", 50), site("e", 95))
    assert [s.name for s in worthwhile(sites, 0.1)] == [INPUT, "b", "d"]
    assert worthwhile(sites, 0.0) == sites


def test_a_residual_block_without_downsampling_has_a_cut_site_at_its_input_only():
    assert [site.name for site in cut_sites(BasicBlock(4, 4), torch.zeros(1, 4, 5, 5))] == [INPUT]


def layers_of(model: nn.Module, *shape: int) -> dict[str, LayerSite]:
    return {site.name: site for site in layer_sites(model, torch.zeros(1, *shape))}


class Net(nn.Module):
    """A network whose layers and forward function a test passes as arguments."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.run = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def test_layer_sites_of_a_chain_name_their_norm_activation_and_source_layer():
    sites = layers_of(MCifarNet(10, (3, 32, 32), width=0.0625), 3, 32, 32)
    assert list(sites) == [*(f"conv{i}.0" for i in range(8)), "classifier"]
    assert [site.norm for site in sites.values()] == [*(f"conv{i}.1" for i in range(8)), None]
    assert [site.activation for site in sites.values()] == [*(f"conv{i}.2" for i in range(8)), None]
    # Dropout keeps the channels of the source layer; flattening does not.
    assert [site.source for site in sites.values()] == [None, *(f"conv{i}.0" for i in range(7)), None]
    first, last = sites["conv0.0"], sites["classifier"]
    assert (first.op, first.shape_in, first.shape, first.macs, first.params) == (
        "conv2d", (3, 32, 32), (4, 30, 30), 3 * 9 * 4 * 900, 3 * 9 * 4,
    )  # fmt: skip
    assert (last.op, last.shape_in, last.shape, last.macs, last.params) == ("linear", (12,), (10,), 120, 130)
    assert (first.channels, first.elements) == (4, 3600)


def test_a_layer_site_after_a_residual_sum_has_no_source():
    sites = layers_of(resnet20(10, (3, 32, 32), width=4), 3, 32, 32)
    assert len(sites) == 1 + 3 * 3 * 2 + 1
    for stage in (1, 2, 3):
        for block in (0, 1, 2):
            first, second = (sites[f"stage{stage}.{block}.conv{k}"] for k in (1, 2))
            assert (first.norm, second.norm) == tuple(f"stage{stage}.{block}.norm{k}" for k in (1, 2))
            assert first.activation == f"stage{stage}.{block}.relu1" and second.activation is None  # a sum is between
            assert first.source is None and second.source == first.name
    assert sites["stem.conv"].source is sites["classifier"].source is None
    assert (
        sum(site.macs for site in sites.values())
        == cut_sites(resnet20(10, (3, 32, 32), width=4), torch.zeros(1, 3, 32, 32))[0].macs_after
    )


def test_a_source_is_reached_through_operations_that_map_zero_to_zero():
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.1),
        nn.Conv2d(4, 6, 1), nn.AvgPool2d(2), nn.ReLU6(), nn.Conv2d(6, 6, 1), nn.Sigmoid(), nn.Conv2d(6, 5, 1),
        nn.Flatten(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3),
    )  # fmt: skip
    sites = layers_of(net, 2, 6, 6)
    assert {name: (site.norm, site.activation, site.source) for name, site in sites.items()} == {
        "0": ("1", "2", None),
        "5": (None, None, "0"),
        "8": (None, None, "5"),  # ReLU6 maps zero to zero
        "10": (None, None, None),  # a sigmoid maps zero to 0.5
        "12": (None, "13", None),
        "14": (None, None, "12"),
    }


def test_a_layer_that_runs_twice_or_has_groups_is_no_layer_site():
    net = Net(
        lambda self, x: self.last(self.wide(self.again(self.again(self.first(x))))),
        first=nn.Conv2d(2, 4, 1), again=nn.Conv2d(4, 4, 1), wide=nn.Conv2d(4, 4, 1, groups=2), last=nn.Conv2d(4, 2, 1),
    )  # fmt: skip
    sites = layers_of(net, 2, 3, 3)
    assert list(sites) == ["first", "last"]
    assert sites["last"].source is None  # the layers between mix channels
    alias = Net(lambda self, x: self.b(self.a(x)), a=(layer := nn.Linear(4, 4)), b=layer)
    assert layers_of(alias, 4) == {}


def test_a_functional_relu_counts_as_an_activation():
    net = Net(
        lambda self, x: self.c(torch.relu(self.b(F.relu(self.norm(self.a(x)))))),
        a=nn.Conv2d(2, 4, 1), norm=nn.BatchNorm2d(4), b=nn.Conv2d(4, 4, 1), c=nn.Conv2d(4, 2, 1),
    )  # fmt: skip
    sites = layers_of(net, 2, 3, 3)
    assert [(s.norm, s.activation, s.source) for s in sites.values()] == [
        ("norm", "relu", None),
        (None, "relu_1", "a"),
        (None, None, "b"),
    ]


def test_a_tensor_with_two_readers_has_no_norm_activation_or_source():
    def forward(self, x):
        hidden = self.a(x)
        side = self.relu(self.norm(hidden))
        return self.d(self.b(side) + self.c(side) + hidden)

    net = Net(
        forward, a=nn.Conv2d(2, 4, 1), norm=nn.BatchNorm2d(4), relu=nn.ReLU(),
        b=nn.Conv2d(4, 4, 1), c=nn.Conv2d(4, 4, 1), d=nn.Conv2d(4, 2, 1),
    )  # fmt: skip
    assert [(s.norm, s.activation, s.source) for s in layers_of(net, 2, 3, 3).values()] == [(None, None, None)] * 4


def test_a_norm_that_two_layers_share_belongs_to_no_layer_site():
    net = Net(
        lambda self, x: self.c(self.norm(self.b(self.norm(self.a(x))))),
        a=nn.Conv2d(2, 4, 1), norm=nn.BatchNorm2d(4), b=nn.Conv2d(4, 4, 1), c=nn.Conv2d(4, 2, 1),
    )  # fmt: skip
    assert [(s.norm, s.source) for s in layers_of(net, 2, 3, 3).values()] == [(None, None)] * 3


def test_a_norm_after_the_activation_ends_the_search_for_a_source():
    net = nn.Sequential(nn.Conv2d(2, 4, 1), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    sites = layers_of(net, 2, 3, 3)
    # The norm maps a suppressed channel from zero to a constant, so layer 3 has to read it.
    assert (sites["0"].norm, sites["0"].activation, sites["3"].source) == (None, "1", None)


GATES = {
    "pg": PlacedGate.of("pg", "conv1.0", bits=8, high_bits=4),
    "fbs": PlacedGate.of("fbs", "conv1.0", density=0.5),
    "fbs_pg": PlacedGate.of("fbs_pg", "conv1.0", density=0.5),
}


@pytest.mark.parametrize("kind", GATES)
def test_a_layer_gate_is_one_node_and_changes_no_name_in_the_graph(kind):
    net, x = MCifarNet(3, (1, 8, 8), width=0.0625), torch.zeros(2, 1, 8, 8)
    cuts, layers, names = cut_sites(net, x), layer_sites(net, x), [node.name for node in trace(net).graph.nodes]
    site, layer = find(layers, "conv1.0"), net.get_submodule("conv1.0")
    gate = build_gate(site, GATES[kind], layer, net.get_submodule("conv1.1"))
    net.set_submodule("conv1.0", gate)
    assert [node.name for node in trace(net).graph.nodes] == names
    assert [(s.name, s.node, s.shape) for s in cut_sites(net, x)] == [(s.name, s.node, s.shape) for s in cuts]
    rest = {site.name: site for site in layer_sites(net, x)}
    assert list(rest) == [site.name for site in layers if site.name != "conv1.0"]
    assert rest["conv2.0"].source is None and rest["conv3.0"] == find(layers, "conv3.0")


def test_a_module_with_traced_whole_is_one_node_and_may_have_control_flow():
    class Whole(nn.Module):
        traced_whole = True

        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Conv2d(4, 4, 1)

        def forward(self, x):
            return self.inner(x) if x.sum() > 0 else -self.inner(x)

    net = nn.Sequential(nn.Conv2d(2, 4, 1), Whole(), nn.Conv2d(4, 2, 1))
    calls = [node.target for node in trace(net).graph.nodes if node.op == "call_module"]
    assert calls == ["0", "1", "2"]
    assert list(layers_of(net, 2, 3, 3)) == ["0", "2"]
    traced = trace(net)
    for x in (torch.ones(1, 2, 3, 3), -torch.ones(1, 2, 3, 3)):
        assert torch.equal(traced(x), net(x))


@pytest.mark.parametrize("training", [True, False])
def test_layer_sites_does_not_change_the_model(training):
    model = ResNet().train(training)
    state = copy.deepcopy(model.state_dict())
    assert layer_sites(model, torch.randn(4, 3, 16, 16)) == layer_sites(model, torch.randn(1, 3, 16, 16))
    assert all(module.training is training for module in model.modules())
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
