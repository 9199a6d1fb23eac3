"""Tests of channel pruning: a stage without its masked channels equals the masked stage."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn
from torch.nn import functional as F

from gatesearch.compile.prune import cut_channels
from gatesearch.graph.sites import cut_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from tests.nets import CLASSES, NETS, build, with_trained_statistics

C = 6  # channels of all layers in the random stages


class Residual(nn.Module):
    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + x


class Applied(nn.Module):
    """A module that calls a function; tracing goes into the module, so the graph contains the function."""

    def __init__(self, function, **kwargs) -> None:
        super().__init__()
        self.function, self.kwargs = function, kwargs

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, **self.kwargs)


ANY_RANK = {
    "relu": lambda: nn.ReLU(),
    "relu_in_place": lambda: nn.ReLU(inplace=True),
    "sigmoid": lambda: nn.Sigmoid(),
    "hardswish": lambda: nn.Hardswish(),
    "elu": lambda: nn.ELU(),
    "gelu_tanh": lambda: Applied(F.gelu, approximate="tanh"),
    "functional_relu": lambda: Applied(F.relu),
    "torch_tanh": lambda: Applied(torch.tanh),
    "doubled": lambda: Doubled(),
}
PLANES = {
    "conv_padded": lambda: nn.Conv2d(C, C, 3, padding=1),
    "conv_same": lambda: nn.Conv2d(C, C, 3, padding="same", bias=False),
    "conv_unpadded": lambda: nn.Conv2d(C, C, (1, 2), bias=False),
    "conv_reflecting": lambda: nn.Conv2d(C, C, 3, padding=1, padding_mode="reflect"),
    "pointwise": lambda: nn.Conv2d(C, C, 1),
    "depthwise_padded": lambda: nn.Conv2d(C, C, 3, padding=1, groups=C, bias=False),
    "depthwise_unpadded": lambda: nn.Conv2d(C, C, (2, 1), groups=C),
    "grouped": lambda: nn.Conv2d(C, C, 1, groups=2),
    "batch_norm": lambda: nn.BatchNorm2d(C),
    "batch_norm_plain": lambda: nn.BatchNorm2d(C, affine=False),
    "group_norm": lambda: nn.GroupNorm(2, C),
    "dropout": lambda: nn.Dropout2d(0.5),
    "max_pool_padded": lambda: nn.MaxPool2d(3, 1, 1),
    "mean_pool": lambda: nn.AvgPool2d(2, 1),
    "mean_pool_padded": lambda: nn.AvgPool2d(3, 1, 1),
    "mean_pool_ceil": lambda: nn.AvgPool2d(2, 2, ceil_mode=True),
    "sum_pool": lambda: nn.AvgPool2d(2, 1, divisor_override=1),
    "residual": lambda: Residual(nn.Sequential(nn.Conv2d(C, C, 3, padding=1), nn.BatchNorm2d(C), nn.ReLU())),
    "residual_pointwise": lambda: Residual(nn.Conv2d(C, C, 1)),
}
LINES = {
    "conv_padded": lambda: nn.Conv1d(C, C, 3, padding=1),
    "conv_dilated": lambda: nn.Conv1d(C, C, 2, dilation=2),
    "depthwise": lambda: nn.Conv1d(C, C, 3, padding=1, groups=C),
    "batch_norm": lambda: nn.BatchNorm1d(C),
    "max_pool": lambda: nn.MaxPool1d(2, 1),
    "mean_pool_padded": lambda: nn.AvgPool1d(3, 1, 1),
    "over_time": lambda: nn.LazyLinear(5),
    "residual": lambda: Residual(nn.Conv1d(C, C, 1)),
}
VECTORS = {
    "linear": lambda: nn.Linear(C, C),
    "linear_plain": lambda: nn.Linear(C, C, bias=False),
    "batch_norm": lambda: nn.BatchNorm1d(C),
    "layer_norm": lambda: nn.LayerNorm(C),
    "residual": lambda: Residual(nn.Sequential(nn.Linear(C, C), nn.ReLU())),
}
RANKS = {"plane": ((9, 8), PLANES), "line": ((16,), LINES), "vector": ((), VECTORS)}
ENDS = {
    "none": lambda: nn.Identity(),
    "flatten": lambda: nn.Flatten(),
    "flatten_function": lambda: Applied(torch.flatten, start_dim=1),
    "classifier": lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(4)),
    "global_mean": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(C, 4)),
}


def channels(count: int) -> st.SearchStrategy[list[int]]:
    return st.sets(st.integers(0, count - 1), min_size=1).map(sorted)


# Returns x [N, C, ...] with all channels except ``active_channels`` set to zero.
def masked(x: Tensor, active_channels: Sequence[int]) -> Tensor:
    mask = torch.zeros(x.shape[1])
    mask[list(active_channels)] = 1
    return x * mask.view(-1, *[1] * (x.ndim - 2))


# Checks that the pruned stage, on the remaining input channels, equals the stage on masked inputs; returns the pruned
# stage.
def check(module: nn.Module, x: Tensor, inputs: Sequence[int], outputs: Sequence[int] | None) -> fx.GraphModule:
    stage = fx.symbolic_trace(module.eval())
    cut = cut_channels(stage, x[:1], inputs, outputs)
    expected = stage(masked(x, inputs))
    if outputs is not None:
        expected = expected[:, list(outputs)]
    torch.testing.assert_close(cut(x[:, list(inputs)]), expected, atol=2e-5, rtol=1e-4)
    return cut


@settings(max_examples=120, deadline=None)
@given(data=st.data(), rank=st.sampled_from(sorted(RANKS)), seed=st.integers(0, 99))
def test_removed_channels_give_the_masked_output_for_any_chain_of_layers(data, rank, seed):
    plane, kinds = RANKS[rank]
    available = {**ANY_RANK, **kinds}
    names = data.draw(st.lists(st.sampled_from(sorted(available)), max_size=4), label="layers")
    ends = [end for end in ENDS if rank == "plane" or end in ("none", "flatten")]
    end = data.draw(st.sampled_from(ends), label="end")
    torch.manual_seed(seed)
    module = nn.Sequential(*(available[name]() for name in names), ENDS[end]())
    with_trained_statistics(module, (C, *plane))
    x = torch.randn(3, C, *plane)
    inputs = data.draw(channels(C), label="inputs")
    with torch.no_grad():
        leaving = module(x).shape[1]
        outputs = data.draw(st.none() | channels(leaving), label="outputs")
        check(module, x, inputs, outputs)


@torch.no_grad()
def physically_cut(model: GatedModel, x: Tensor) -> tuple[Tensor, list[fx.GraphModule]]:
    """Run the pruned stages of a model with the gate heads of an export between them, and stop no sample.

    Returns:
        The output of the last stage, and the pruned stages.
    """
    hidden, full, entering, stages = x, x, None, []
    for k, stage in enumerate(model.stages):
        assert isinstance(stage, fx.GraphModule)
        lowered = model.gate(k).lower() if k < len(model.gates) else None
        leaving = lowered.channels if lowered is not None else None
        axes = [model.sites[i].channel_axis if 0 <= i < len(model.sites) else 0 for i in (k - 1, k)]
        stages.append(cut_channels(stage, full[:1], entering, leaving, (axes[0], axes[1])))
        hidden, full = stages[-1](hidden), stage(full)
        if lowered is not None:
            hidden, logit = lowered.head.eval()(hidden)
            output = model.gate(k)(full)
            torch.testing.assert_close(logit[:, 0], output.logit, atol=1e-4, rtol=1e-4)
            full, entering = output.passed, leaving
    return hidden, stages


@pytest.mark.parametrize("name", NETS)
@settings(max_examples=12, deadline=None)
@given(data=st.data(), keep=st.sampled_from([0.13, 0.25, 0.5, 0.75, 1.0]), seed=st.integers(0, 99))
def test_removed_channels_give_the_masked_output_of_a_gate(name, data, keep, seed):
    backbone, shape = build(name)
    x = torch.randn(4, *shape)
    sites = cut_sites(backbone, x)
    indices = data.draw(st.sets(st.sampled_from(range(len(sites))), min_size=1).map(sorted))
    plan = GatePlan(tuple(PlacedGate.of("gc", sites[i].name, keep=keep) for i in indices))
    model = GatedModel(backbone, plan, sites, CLASSES)
    torch.manual_seed(seed)
    for k in range(len(model.gates)):
        model.gate(k).initialise(torch.rand(model.sites[k].channels))
    model.train()(torch.randn(16, *shape))
    model.eval()
    with torch.no_grad():
        expected = model(x).logits
    logits, _ = physically_cut(model, x)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


def test_removed_channels_are_missing_in_the_layers_on_both_sides():
    backbone, shape = build("ds_cnn")
    sites = cut_sites(backbone, torch.zeros(1, *shape))
    plan = GatePlan((PlacedGate.of("gc", "stem", keep=0.25), PlacedGate.of("gc", "blocks.0", keep=0.5)))
    model = GatedModel(backbone, plan, sites, CLASSES).eval()
    _, stages = physically_cut(model, torch.randn(2, *shape))
    sizes = [
        [(m.in_channels, m.out_channels, m.groups) for m in stage.modules() if isinstance(m, nn.Conv2d)]
        for stage in stages
    ]
    # Of 8 channels, 2 remain after the stem, and 4 after the first block.
    assert sizes[0] == [(1, 2, 1)]
    assert sizes[1] == [(2, 2, 2), (2, 4, 1)]
    assert sizes[2] == [(4, 4, 4), (4, 8, 1)]
    assert not any(hasattr(module, "order") for stage in stages for module in stage.modules())


def test_channels_are_restored_at_residual_edges_and_removed_in_the_branch():
    torch.manual_seed(0)
    stage = Residual(nn.Sequential(nn.Conv2d(C, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, C, 1)))
    cut = check(stage, torch.randn(2, C, 5, 5), [1, 4], [0, 5])
    convolutions = [m for m in cut.modules() if isinstance(m, nn.Conv2d)]
    assert sorted((m.in_channels, m.out_channels) for m in convolutions) == [(2, 8), (8, C)]


@pytest.mark.parametrize("padding", [0, 1, "same"])
@pytest.mark.parametrize("groups", [1, C])
def test_a_zero_that_a_normalisation_makes_a_constant_becomes_part_of_the_bias_unless_padded(padding, groups):
    torch.manual_seed(0)
    stage = nn.Sequential(nn.BatchNorm2d(C), nn.Conv2d(C, C, 3, padding=padding, groups=groups))
    with_trained_statistics(stage, (C, 5, 5))
    cut = check(stage, torch.randn(2, C, 5, 5), [0, 2, 3], None)
    convolution = next(m for m in cut.modules() if isinstance(m, nn.Conv2d))
    # After the normalisation, a zeroed channel is a constant. Without padding, the constant becomes part of the bias.
    # At a padded edge that would be wrong, so the convolution keeps all its input channels.
    assert convolution.in_channels == (3 if padding == 0 else C)
    norm = next(m for m in cut.modules() if isinstance(m, nn.BatchNorm2d))
    assert norm.num_features == 3


def test_a_padded_convolution_right_behind_the_mask_loses_channels():
    torch.manual_seed(0)
    cut = check(nn.Sequential(nn.Conv2d(C, 4, 3, padding=1)), torch.randn(2, C, 5, 5), [0, 5], [1])
    convolution = next(m for m in cut.modules() if isinstance(m, nn.Conv2d))
    assert (convolution.in_channels, convolution.out_channels) == (2, 1)


def test_a_linear_layer_over_the_last_axis_is_not_taken_for_one_over_channels():
    torch.manual_seed(0)
    check(nn.Sequential(nn.Linear(7, 7), nn.ReLU()), torch.randn(2, C, 7), [1, 2], [0, 3])


def test_channels_of_tokens_are_restored_once_before_a_block_that_needs_all_of_them():
    torch.manual_seed(0)
    stage = fx.symbolic_trace(Residual(nn.Sequential(nn.LayerNorm(C), nn.Linear(C, C), nn.GELU())).eval())
    x, active_channels = torch.randn(2, 5, C), [1, 4]
    hidden = torch.zeros_like(x)
    hidden[..., active_channels] = x[..., active_channels]
    cut = cut_channels(stage, x[:1], active_channels, [0, 5], (1, 1))
    assert torch.equal(cut(x[..., active_channels]), stage(hidden)[..., [0, 5]])  # equal bit for bit
    assert sum(hasattr(module, "order") for module in cut.modules()) == 1


def test_a_linear_layer_over_tokens_loses_removed_channels_on_both_sides():
    torch.manual_seed(0)
    stage = fx.symbolic_trace(nn.Sequential(nn.ReLU(), nn.Linear(C, 7), nn.GELU()).eval())
    x = torch.randn(2, 5, C)
    x[..., [0, 3]] = 0
    cut = cut_channels(stage, x[:1], [1, 2, 4, 5], [6, 2], (1, 1))
    torch.testing.assert_close(cut(x[..., [1, 2, 4, 5]]), stage(x)[..., [6, 2]])
    assert [(m.in_features, m.out_features) for m in cut.modules() if isinstance(m, nn.Linear)] == [(4, 2)]


def test_a_flatten_of_some_axes_only_keeps_its_meaning():
    torch.manual_seed(0)
    check(nn.Sequential(nn.Flatten(1, 2), nn.Conv1d(C * 3, 4, 1)), torch.randn(2, C, 3, 5), [1, 2], None)
    check(
        nn.Sequential(Applied(torch.flatten, start_dim=1, end_dim=2), nn.ReLU()),
        torch.randn(2, C, 3, 5),
        [1, 2],
        [0, 9],
    )


@pytest.mark.parametrize(
    "layer", [Applied(F.gelu, approximate="tanh"), nn.AvgPool2d(2, 1, divisor_override=1), nn.AvgPool2d(3, 1, 1)]
)
def test_the_constant_of_a_removed_channel_goes_through_activations_with_their_settings(layer):
    torch.manual_seed(0)
    norm, last = nn.BatchNorm2d(C), nn.Conv2d(C, 4, 1)
    nn.init.constant_(norm.bias, -2.0)
    nn.init.constant_(last.weight, 5.0)
    check(nn.Sequential(norm, layer, last), torch.randn(2, C, 5, 5), [1, 2], None)


def test_a_normalisation_without_running_statistics_is_left_whole():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(C, track_running_stats=False)
    check(nn.Sequential(norm, nn.Conv2d(C, 4, 1)), torch.randn(4, C, 5, 5), [1, 2], None)
    check(nn.Sequential(nn.Conv2d(C, C, 1), norm), torch.randn(4, C, 5, 5), [1, 2], [3])


def test_a_module_used_at_two_places_loses_channels_at_one_only():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(C, C, 1)

        def forward(self, x):
            return self.conv(self.conv(x))

    torch.manual_seed(0)
    check(Twice(), torch.randn(2, C, 4, 4), [0, 1], [4])


def test_the_stage_itself_is_not_changed():
    torch.manual_seed(0)
    stage = fx.symbolic_trace(nn.Sequential(nn.Conv2d(C, C, 1), nn.BatchNorm2d(C)))
    state = {name: value.clone() for name, value in stage.state_dict().items()}
    code = stage.code
    cut_channels(stage, torch.randn(1, C, 4, 4), [0], [1])
    assert stage.training and stage.code == code
    assert all(torch.equal(state[name], value) for name, value in stage.state_dict().items())


def test_a_mask_without_zeros_changes_nothing():
    torch.manual_seed(0)
    stage, x = fx.symbolic_trace(nn.Sequential(nn.Conv2d(C, C, 3), nn.ReLU()).eval()), torch.randn(2, C, 6, 6)
    assert torch.equal(cut_channels(stage, x)(x), stage(x))
    assert torch.equal(cut_channels(stage, x, range(C), range(C))(x), stage(x))
