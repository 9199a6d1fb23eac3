"""Tests of Gated Compression (GC): masks, heads, losses, work and parameters."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch.errors import UserError
from gatesearch.gates import GateContext, GateOutput, build_gate, fits, work_of
from gatesearch.gates.gc import GC, SLOPE, ActivationGC, ChannelGC, GCGate
from gatesearch.gates.gc.lowered import fold
from gatesearch.gates.modules import activation_sparsity
from gatesearch.graph.sites import CutSite
from gatesearch.plan import PlacedGate
from tests.testing.gate_suites import check_gate

SHAPES = [(16,), (8, 10), (8, 5, 4), (1, 12, 6), (1, 9)]


def site(shape: tuple[int, ...], axis: int = 0, class_token: bool = False) -> CutSite:
    return CutSite("here", shape, 1, 1, 1, 1, "here", axis, class_token)


def trained(gate: GCGate, steps: int = 4) -> GCGate:
    """Set random statistics, head and mask, as after a training."""
    with torch.no_grad():
        nn.init.normal_(gate.linear.weight)
        nn.init.normal_(gate.linear.bias)
        for parameter in gate.control_parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
        for _ in range(steps):
            gate.train()(torch.randn(16, *gate.shape) * 2 + 1)
    return gate.eval()


@given(
    count=st.integers(1, 40),
    keep=st.floats(0.01, 1.0),
    values=st.data(),
)
def test_the_mask_keeps_its_share_of_channels_rounded_up(count, keep, values):
    gate = ChannelGC((count, 3, 3), keep, 0.99)
    logits = values.draw(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=count, max_size=count))  # ties
    with torch.no_grad():
        gate.mask_logits.copy_(torch.tensor(logits))
    mask = gate.mask().detach()
    assert set(mask.tolist()) <= {0.0, 1.0}
    assert int(mask.sum()) == max(1, math.ceil(keep * count - 1e-9))
    assert int(mask.sum()) == work_of(site((count, 3, 3)), PlacedGate.of("gc", "here", keep=keep)).kept_channels
    assert min(gate.mask_logits[mask == 1]) >= max(gate.mask_logits[mask == 0], default=-math.inf)


@pytest.mark.parametrize("keep", [None, 0.5])
def test_the_straight_through_gradient_is_that_of_the_surrogate_by_finite_differences(keep):
    torch.manual_seed(0)
    gate = ChannelGC((8, 3, 3), keep, 0.99).double()
    with torch.no_grad():
        gate.mask_logits.copy_(torch.randn(8) * 0.3)
    hidden, weights = torch.randn(4, 8, 3, 3).double(), torch.randn(4, 8, 3, 3).double()
    (gate.compress(hidden) * weights).sum().backward()
    ranked = gate.mask_logits.detach().sort(descending=True).values
    tau = 0.0 if keep is None else float(ranked[3:5].mean())

    def surrogate(logits: Tensor) -> Tensor:
        return (hidden * torch.sigmoid(SLOPE * (logits - tau)).view(-1, 1, 1) * weights).sum()

    step = 1e-6
    for c in range(8):
        nudge = torch.zeros(8).double().index_fill(0, torch.tensor(c), step)
        there, here = surrogate(gate.mask_logits.detach() + nudge), surrogate(gate.mask_logits.detach() - nudge)
        assert float(gate.mask_logits.grad[c]) == pytest.approx(float(there - here) / (2 * step), rel=1e-5, abs=1e-8)


def test_gradients_reach_earlier_layers_through_active_channels_only():
    gate = ChannelGC((4, 2, 2), 0.5, 0.99)
    hidden = torch.randn(3, 4, 2, 2, requires_grad=True)
    gate(hidden).passed.sum().backward()
    assert hidden.grad[:, :2].eq(1).all() and hidden.grad[:, 2:].eq(0).all()


def test_a_learned_share_falls_but_stays_above_zero():
    gate = ChannelGC((6, 4, 4), None, 0.99)
    with torch.no_grad():
        gate.mask_logits.copy_(torch.tensor([-1.0, -2.0, -0.5, -3.0, -1.0, -4.0]))
    assert gate.mask().tolist() == [0, 0, 1, 0, 0, 0]
    assert gate.lower().channels == [2]
    with torch.no_grad():
        gate.mask_logits[0] = 0.1
    assert gate.mask().tolist() == [1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_folded_head_is_normalisation_and_linear_layer(shape):
    torch.manual_seed(0)
    gate = trained(ChannelGC(shape, 1.0, 0.99))
    features = gate.pool(gate.look(torch.randn(7, *shape)))
    torch.testing.assert_close(fold(gate, None)(features), gate.linear(gate.norm(features)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", [ChannelGC, ActivationGC])
@pytest.mark.parametrize("keep", [0.01, 0.25, 0.75, 1.0, None])  # .01 leaves a single channel
def test_the_lowered_head_equals_the_gate_in_evaluation_mode(shape, mode, keep):
    torch.manual_seed(0)
    gate = trained(mode(shape, keep, 0.99))
    hidden = torch.randn(7, *shape)
    with torch.no_grad():
        output, (channels, head, _) = gate(hidden), gate.lower()
        remaining = list(range(shape[0])) if channels is None else list(channels)
        passed, logit = head(hidden[:, remaining])
    torch.testing.assert_close(passed, output.passed[:, remaining])
    torch.testing.assert_close(logit[:, 0], output.logit, atol=1e-5, rtol=1e-4)
    assert not output.passed[:, [c for c in range(shape[0]) if c not in remaining]].any()


@pytest.mark.parametrize(
    ("shape", "keep", "macs", "params"),
    [
        ((16,), 0.5, 8, 8 + 1),
        ((8, 10), 0.5, 8, 8 + 1),
        # A mean over a map of 5 x 4 pixels is a depthwise convolution with a weight for every pixel.
        ((8, 5, 4), 1.0, 160 + 16, 160 + 16 + 1),
        ((8, 5, 4), 0.01, 20 + 2, 20 + 2 + 1),
        # On raw features the head has 16 filters of 5 x 6 at 4 positions and 16 filters of 3 frames at 2 positions, two
        # normalisations, 16 means and 16 maxima.
        ((1, 12, 6), 1.0, 16 * 5 * 6 * 4 + 16 * 16 * 3 * 2 + 32 + 32, 16 * (5 * 6 + 16 * 3) + 2 * 32 + 32 + 32 + 1),
    ],
)
def test_the_work_equals_hand_counts_and_the_size_of_the_lowered_head(shape, keep, macs, params):
    placed = PlacedGate.of("gc", "here", keep=keep)
    work = work_of(site(shape), placed)
    assert (work.macs, work.params) == (macs, params)
    gate = build_gate(site(shape), placed)
    assert sum(p.numel() for p in gate.lower().head.parameters()) == params
    assert work.elements == math.prod(shape) // shape[0] * work.kept_channels
    assert work.density == 1.0


TOKENS = [((10, 8), 1, False), ((10, 8), 1, True), ((3, 5, 8), 2, False)]


@pytest.mark.parametrize(("shape", "axis", "class_token"), TOKENS)
@pytest.mark.parametrize("mode", [ChannelGC, ActivationGC])
@pytest.mark.parametrize("keep", [0.25, 1.0])
def test_for_tokens_mask_head_and_sparsity_take_the_last_axis_as_channels(shape, axis, class_token, mode, keep):
    torch.manual_seed(0)
    gate = trained(mode(shape, keep, 0.99, axis, class_token))
    hidden = torch.randn(7, *shape)
    with torch.no_grad():
        output, (channels, head, _) = gate(hidden), gate.lower()
        remaining = list(range(8)) if channels is None else list(channels)
        passed, logit = head(hidden[..., remaining])
    torch.testing.assert_close(passed, output.passed[..., remaining])
    torch.testing.assert_close(logit[:, 0], output.logit, atol=1e-5, rtol=1e-4)
    assert not output.passed[..., [c for c in range(8) if c not in remaining]].any()
    assert activation_sparsity(output.passed, hidden, axis)["channel"] == pytest.approx(1 - len(remaining) / 8)
    work = work_of(site(shape, axis, class_token), PlacedGate.of("gc", "here", mode="channel", keep=keep))
    if mode is ChannelGC:
        assert sum(p.numel() for p in head.parameters()) == work.params
        assert work.elements == math.prod(shape) // 8 * len(remaining)


def test_tokens_are_pooled_by_mean_and_maximum_and_a_class_token_stands_beside_them():
    tokens = torch.randn(2, 10, 8)
    for class_token in (False, True):
        gate = ChannelGC((10, 8), 1.0, 0.99, 1, class_token)
        expected = [tokens.mean(1), tokens.amax(1), tokens[:, 0]][: 2 + class_token]
        torch.testing.assert_close(gate.pool(gate.look(gate.view(tokens))), torch.cat(expected, 1))


@pytest.mark.parametrize("keep", [0.5, 1.0])
@pytest.mark.parametrize("mode", ["channel", "activation"])
@pytest.mark.parametrize(("shape", "axis", "class_token"), TOKENS)
def test_a_gate_on_tokens_passes_the_conformance_suite(shape, axis, class_token, mode, keep):
    check_gate(GC(), site(shape, axis, class_token), mode=mode, keep=keep)


def test_the_work_of_the_activation_mode_reports_the_remaining_share():
    work = work_of(site((8, 5, 4)), PlacedGate.of("gc", "here", mode="activation", keep=0.25))
    assert (work.kept_channels, work.elements, work.density) == (8, 160, 0.25)


def test_pooling_is_mean_and_maximum_over_the_plane_or_over_time():
    plane = torch.randn(2, 8, 5, 4)
    pooled = ChannelGC((8, 5, 4), 1.0, 0.99).pool(plane)
    torch.testing.assert_close(pooled, torch.cat([plane.mean((2, 3)), plane.amax((2, 3))], 1))
    line = torch.randn(2, 8, 10)
    pooled = ChannelGC((8, 10), 1.0, 0.99).pool(line)
    torch.testing.assert_close(pooled, torch.cat([line.mean(2), line.amax(2)], 1))


def test_the_head_has_filters_for_raw_features_only():
    assert not ChannelGC((1, 12, 6), 1.0, 0.99).look.is_identity
    assert ChannelGC((1, 3, 6), 1.0, 0.99).look(torch.randn(2, 1, 3, 6)).shape == (2, 16, 1, 1)  # it accepts few frames
    for shape in [(16,), (8, 10), (1, 9), (8, 5, 4)]:
        hidden = torch.randn(2, *shape)
        assert ChannelGC(shape, 1.0, 0.99).look(hidden) is hidden


def test_the_activation_mode_shrinks_each_channel_by_its_own_amount():
    gate = ActivationGC((3, 2, 2), 0.5, 0.99)
    with torch.no_grad():
        gate.shrinkage.copy_(torch.tensor([-3.0, 0.0, 2.0]))
    hidden = torch.randn(4, 3, 2, 2) * 3
    amount = torch.log1p(torch.exp(torch.tensor([-3.0, 0.0, 2.0]))).view(3, 1, 1)
    torch.testing.assert_close(gate(hidden).passed, (hidden - amount).clamp(min=0))


@given(positives=st.integers(0, 12), alpha=st.floats(0, 10), beta=st.floats(0, 10), weighted=st.booleans())
@settings(max_examples=30)
def test_the_loss_is_alpha_bce_with_both_sides_weighing_the_same_plus_beta_c(positives, alpha, beta, weighted):
    gate = ChannelGC((4,), None, 0.99)
    torch.manual_seed(positives)
    logit, positive = torch.randn(12), torch.arange(12) < positives
    weight = torch.rand(12) + 0.1 if weighted else torch.ones(12)
    output = GateOutput(torch.randn(12, 4), logit)
    context = GateContext(positive, alpha, beta, 0.0, weight if weighted else None, output.logit, torch.zeros_like)
    loss = gate.loss(output, context)
    own = F.binary_cross_entropy_with_logits(logit, positive.float(), reduction="none")
    sides = [(own[side] * weight[side]).sum() / weight[side].sum() for side in (positive, ~positive) if side.any()]
    balanced = 0.5 * torch.stack(sides).sum()
    compression = torch.sigmoid(SLOPE * gate.mask_logits).mean()
    torch.testing.assert_close(loss, alpha * balanced + beta * compression)


def test_a_searched_share_of_channels_has_no_compression_loss():
    gate = ChannelGC((4,), 0.5, 0.99)
    assert float(gate.penalty(torch.randn(3, 4), torch.tensor([True, False, True])).detach()) == 0.0


def test_the_compression_loss_of_the_activation_mode_ends_at_the_target_and_counts_positives_only():
    gate = ActivationGC((4,), 0.5, 0.99)
    dense, half = torch.ones(2, 4), torch.tensor([[1.0, 1.0, 0.0, 0.0]] * 2)
    both, none = torch.tensor([True, True]), torch.tensor([False, False])
    assert float(gate.penalty(half, both)) == 0.0
    assert float(gate.penalty(dense, both)) == pytest.approx(50.0)
    assert float(gate.penalty(dense * 1000, both)) == pytest.approx(50.0)  # the scale does not matter
    assert float(gate.penalty(dense, none)) == 0.0
    assert float(gate.penalty(torch.cat([dense, half]), torch.tensor([False, False, True, True]))) == 0.0


def test_control_parameters_are_the_mask_or_the_shrinkage_and_not_the_head():
    channel, activation = ChannelGC((4,), 0.5, 0.99), ActivationGC((4,), 0.5, 0.99)
    assert [id(p) for p in channel.control_parameters()] == [id(channel.mask_logits)]
    assert [id(p) for p in activation.control_parameters()] == [id(activation.shrinkage)]


def test_sparsity_counts_zeros_by_element_and_by_whole_channel():
    hidden = torch.tensor([[[1.0, 0.0], [2.0, 3.0], [0.0, 0.0], [4.0, 5.0]]])  # [1, 4 channels, 2]
    gate = ChannelGC((4, 2), 0.5, 0.99)
    report = activation_sparsity(gate.eval()(hidden).passed, hidden, 0)
    assert report == {"element": 5 / 8, "channel": 2 / 4, "ungated_element": 3 / 8}
    vector = torch.tensor([[1.0, 0.0, 2.0, 3.0]])
    report = activation_sparsity(vector, vector, 0)
    assert report == {"element": 1 / 4, "channel": 1 / 4, "ungated_element": 1 / 4}


def test_the_space_leaves_a_single_channel_no_choice():
    assert GC().choices(site((1, 12, 6)))["keep"] == (1.0,)
    assert GC().choices(site((1, 12, 6)))["mode"] == ("channel",)
    assert 0.5 in GC().choices(site((8, 5, 4)))["keep"]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"keeep": 0.5}, "gc gate at here: unknown parameter 'keeep'; nearest: 'keep' (choices: mode, keep, recall)"),
        (
            {"mode": "chanel"},
            "gc gate at here: unknown mode 'chanel'; nearest: 'channel' (choices: channel, activation)",
        ),
        ({"keep": 0.0}, "gc gate at here: keep: 0.0 is not in (0, 1]"),
        ({"keep": "half"}, "gc gate at here: keep: 'half' is not in (0, 1]"),
        ({"recall": 99}, "gc gate at here: recall: 99 is not in (0, 1]"),
        ({"recall": None}, "gc gate at here: recall: None is not in (0, 1]"),
    ],
)
def test_wrong_parameters_are_named_in_one_line(params, message):
    for answer in (build_gate, work_of):
        with pytest.raises(UserError) as error:
            answer(site((8, 5, 4)), PlacedGate.of("gc", "here", **params))
        assert str(error.value) == message


def test_sites_of_rank_four_are_refused():
    assert all(fits("gc", site(shape)) for shape in SHAPES)
    assert not fits("gc", site((2, 3, 4, 5)))
