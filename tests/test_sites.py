from __future__ import annotations

import copy

import pytest
import torch
from nets import NETS, BasicBlock, ResNet, build
from torch import nn
from torch.nn import functional as F

from gatesearch.backbones.ds_cnn import DSCNN
from gatesearch.errors import UserError
from gatesearch.gated import split
from gatesearch.sites import INPUT, CutSite, cut_sites, find, trace, worthwhile


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


def test_macs_and_parameters_of_a_resnet_against_hand_counts():
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


def test_macs_of_mlperf_tiny_ds_cnn_against_hand_counts():
    sites = cut_sites(DSCNN(12), torch.zeros(1, 1, 49, 10))
    stem, block, head = 10 * 4 * 64 * 25 * 5, (9 * 64 + 64 * 64) * 25 * 5, 64 * 12
    assert sites[0].macs_after == stem + 4 * block + head
    after_blocks = {site.name: site.macs_before for site in sites if site.name.startswith("blocks.")}
    assert after_blocks["blocks.0"] == stem + block
    assert after_blocks["blocks.2"] == stem + 3 * block
    assert [site.name for site in sites][:2] == [INPUT, "stem"]
    assert find(sites, "stem").shape == (64, 25, 5)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_counts_are_per_sample_whatever_the_batch(batch):
    assert cut_sites(ResNet(), torch.zeros(batch, 3, 16, 16)) == cut_sites(ResNet(), torch.zeros(1, 3, 16, 16))


@pytest.mark.parametrize("name", NETS)
def test_stages_cut_at_every_site_at_once_compose_to_the_backbone(name):
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
def test_looking_for_sites_leaves_the_model_as_it_was(training):
    model = ResNet().train(training)
    model.bn1.eval()  # a frozen normalisation among others that train
    modes = [module.training for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    cut_sites(model, torch.randn(4, 3, 16, 16))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


def test_a_model_of_one_layer_can_be_gated_at_its_input_only():
    assert [site.name for site in cut_sites(nn.Linear(4, 2), torch.zeros(1, 4))] == [INPUT]


def test_a_tensor_that_two_branches_share_can_be_cut_and_the_branches_cannot():
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


def test_no_cut_where_a_long_skip_passes_by():
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


def test_no_site_where_the_first_axis_is_not_the_batch():
    class TimeFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 2)

        def forward(self, x):  # [N, T, 4]
            hidden = self.a(x).transpose(0, 1)
            return self.b(hidden).mean(0)

    sites = cut_sites(TimeFirst(), torch.zeros(2, 7, 4))
    assert [(site.name, site.shape) for site in sites] == [(INPUT, (7, 4)), ("a", (7, 5))]


def test_a_parameter_that_both_sides_of_a_cut_read_goes_to_both():
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


def test_two_inputs_are_refused_by_name():
    class Pair(nn.Module):
        def forward(self, audio, video):
            return audio + video

    with pytest.raises(UserError) as error:
        trace(Pair())
    assert one_line(error) == "backbone: Pair takes 2 inputs (audio, video); gates need exactly one"


def test_two_outputs_are_refused():
    class Heads(nn.Module):
        def forward(self, x):
            return x, x + 1

    with pytest.raises(UserError) as error:
        trace(Heads())
    assert one_line(error) == "backbone: Heads must return one tensor, the logits"


def test_control_flow_on_data_is_refused_in_one_line():
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


def test_an_input_of_the_wrong_shape_is_refused_in_one_line_and_leaves_training_mode():
    model = ResNet().train()
    with pytest.raises(UserError, match=r"does not accept an input of shape \(1, 1, 16, 16\)") as error:
        cut_sites(model, torch.zeros(1, 1, 16, 16))
    one_line(error)
    assert all(module.training for module in model.modules())


def test_an_unknown_site_is_answered_with_the_nearest():
    sites = cut_sites(ResNet(), torch.zeros(1, 3, 16, 16))
    with pytest.raises(UserError, match=r"space\.sites: unknown site 'layer1_0'; nearest: 'layer1\.0'"):
        find(sites, "layer1_0", "space.sites")


def test_worthwhile_keeps_the_input_and_wants_work_between_sites_and_after_the_last():
    def site(name: str, before: int) -> CutSite:
        return CutSite(name, (1,), before, 100 - before, 0, 0, name)

    sites = (site(INPUT, 0), site("a", 3), site("b", 12), site("c", 20), site("d", 50), site("e", 95))
    assert [s.name for s in worthwhile(sites, 0.1)] == [INPUT, "b", "d"]
    assert worthwhile(sites, 0.0) == sites


def test_a_block_without_downsample_is_traced_like_any_other():
    assert [site.name for site in cut_sites(BasicBlock(4, 4), torch.zeros(1, 4, 5, 5))] == [INPUT]
