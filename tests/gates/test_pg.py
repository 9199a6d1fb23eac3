"""Tests of Precision Gating (PG) of convolutions, linear layers and LSTMs: masks, gradients, losses and work.

PG computes every output from the high bits (hb) of its inputs. It adds the low bits (lb) to the outputs that its mask
opens.
"""

from __future__ import annotations

import io
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch.errors import UserError
from gatesearch.gates import Call, LayerGate, build_gate, fits, work_of
from gatesearch.gates.pg import PG, PGLSTM, SIGMA, PGConv2d, PGLayer, PGLinear, PGParams
from gatesearch.gates.pg.arithmetic import MASKS, SLOPE, integer_limit, margins, pg_reference
from gatesearch.gates.quantise import level, levels, quantise, split, truncate, weight_levels
from gatesearch.graph.sites import CutSite, LayerSite, layer_sites
from gatesearch.plan import PlacedGate
from results.dsg.savings import average_bits, saving

CONV = LayerSite("here", "conv2d", (6, 9, 9), (20, 9, 9), 20 * 81 * 54, 20 * 54)
LINEAR = LayerSite("here", "linear", (6,), (20,), 120, 140)


def calibrated(gate: nn.Module, seed: int = 0, spread: float = 0.3) -> nn.Module:
    """Set the range and random thresholds of a gate, as after a training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in gate.named_parameters():
            if name.endswith("threshold"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
        for name, buffer in gate.named_buffers():
            if name.endswith("range.seen"):
                buffer.fill_(2.5 if "state" not in name else 1.0)
            elif name.endswith("batches"):
                buffer.fill_(7)
    return gate.eval()


def conv_of(inputs: int = 6, outputs: int = 20, seed: int = 0, **kwargs) -> nn.Conv2d:
    torch.manual_seed(seed)
    return nn.Conv2d(inputs, outputs, 3, **({"padding": 1} | kwargs))


def constant(gate: PGLayer, threshold: float) -> PGLayer:
    nn.init.constant_(gate.threshold, threshold)
    return gate


@pytest.mark.parametrize(
    ("sparsity", "printed", "times"),
    [
        (0.6283, 4.23, 1.89),
        (0.1223, 7.2662, 1.10),
        (0.4571, 5.2574, 1.52),
        (0.3868, 5.6792, 1.41),
        (0.2508, 6.4952, 1.23),
    ],
)
def test_the_bits_of_table_2_follow_from_its_sparsities(sparsity, printed, times):
    # Table 2 of Huang et al. 2020, "Pushing the Envelope of Dynamic Spatial Gating technologies".
    average = average_bits(8, 2, sparsity)
    assert average == pytest.approx(printed, abs=5e-5 if printed != 4.23 else 5e-3)
    assert saving(8, average) == pytest.approx(times, abs=5e-3)
    as_printed = 6 + (1 - sparsity) * 2  # Eq. 1 as printed contradicts Table 2: a misprint
    assert abs(as_printed - printed) > 0.4


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("bias", [True, False])
def test_with_every_output_open_it_is_the_quantised_convolution_bit_for_bit(mask, bias, training):
    conv = conv_of(64, 40, bias=bias, stride=2)
    gate = constant(PGConv2d(conv, PGParams(8, 3, mask)), -math.inf).train(training)
    plain = PGConv2d(conv, PGParams(8, 8, mask)).train(training)
    x = torch.randn(3, 64, 12, 12).relu() * 2
    output = gate(x)
    assert output.equal(plain(x))
    scale = gate.range.seen
    whole, size = weight_levels(conv.weight, 8)
    levels_times_size = F.conv2d(levels(x, scale, 8), whole, None, 2, 1) * (level(scale, 8) * size)
    assert output.equal(levels_times_size + conv.bias.view(-1, 1, 1) if bias else levels_times_size)
    real = F.conv2d(quantise(x, scale, 8), quantise(conv.weight, conv.weight.abs().max(), 8), conv.bias, 2, 1)
    torch.testing.assert_close(output, real, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mask", MASKS)
def test_with_every_output_closed_it_is_the_convolution_of_the_high_bits(mask):
    conv = conv_of()
    gate = constant(calibrated(PGConv2d(conv, PGParams(8, 4, mask))), math.inf)
    x = torch.randn(3, 6, 9, 9)
    coarse, _ = truncate(levels(x, gate.range.seen, 8), 4)
    whole, size = weight_levels(conv.weight, 8)
    expected = F.conv2d(coarse, whole, padding=1) * (level(gate.range.seen, 8) * size) + conv.bias.view(-1, 1, 1)
    assert gate(x).equal(expected)
    assert gate.report() == {"sparsity": 1.0, "weighted_sparsity": 1.0, "outputs": 3.0 * 20 * 81}
    gate.train()(x).sum().backward()  # infinite thresholds leave gradients finite
    assert all(p.grad is None or p.grad.isfinite().all() for p in gate.parameters())


@given(
    channels=st.integers(1, 40),
    group=st.sampled_from([1, 8, 16, 32, None]),
    seed=st.integers(0, 1000),
    with_winners=st.booleans(),
    plane=st.sampled_from([(), (3,), (2, 3)]),
)
def test_masks_equal_those_computed_by_hand(channels, group, seed, with_winners, plane):
    group = min(group or channels, channels)
    groups = math.ceil(channels / group)
    generator = torch.Generator().manual_seed(seed)
    high = torch.randint(-900, 900, (2, channels, *plane), generator=generator).double()
    threshold = torch.randn(groups, generator=generator).double()
    size = torch.tensor(0.01).double()
    winners = torch.rand(2, channels, generator=generator) < 0.4 if with_winners else None
    result = margins(high, group, threshold, size, winners)
    assert result.shape == high.shape
    for n in range(2):
        for c in range(channels):
            members = [k for k in range(channels) if k // group == c // group]
            if winners is not None:
                members = [k for k in members if winners[n, k]]
            if c not in members:
                assert (result[n, c] == -math.inf).all()
                continue
            mean = torch.stack([high[n, k] for k in members]).mean(0) * size
            torch.testing.assert_close(result[n, c], mean - threshold[c // group])


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("channels", [20, 64, 7])
def test_a_group_has_one_threshold_and_shares_one_mask(mask, channels):
    gate = calibrated(PGConv2d(conv_of(6, channels), PGParams(8, 4, mask)), spread=0.05)
    size = {"3d": 1, "m1": channels, "m2-8": 8, "m2-16": 16, "m2-32": 32}[mask]
    assert gate.threshold.shape == (math.ceil(channels / size),)
    x = torch.randn(2, 6, 9, 9)
    low = PGConv2d(gate.layer, gate.settings)
    low.load_state_dict(gate.state_dict())
    is_open = gate(x) != constant(low.eval(), math.inf)(x)  # where the low bits change the output
    assert is_open.any() and not is_open.all()
    for first in range(0, channels, size):
        together = is_open[:, first : first + size].float().mean(1)
        if size > 1:  # nearly all outputs of an open group change, none of a closed group
            assert ((together == 0) | (together > 0.5)).all()


def closed_form(gate: PGConv2d, x: Tensor, g: Tensor) -> dict[str, Tensor]:
    """Return the gradients of (g * O).sum() by explicit formulas, where O is the layer's output [N, C, H, W]."""
    alpha, scale = gate.range.alpha.item(), gate.range.seen
    parts = split(x, gate.range.alpha, scale, gate.settings.bits, gate.settings.low_bits)
    whole, weight_level = weight_levels(gate.layer.weight, gate.settings.weight_bits)
    weight = (whole * weight_level).detach()
    i_hb, i_lb = (part.detach() * parts.level for part in parts[:2])
    pads = {"padding": 1}
    o_hb, o_lb = (F.conv2d(part, weight, **pads) for part in (i_hb, i_lb))
    channels, k = o_hb.shape[1], gate.group
    groups = [list(range(first, min(first + k, channels))) for first in range(0, channels, k)]
    to_hb, to_lb, to_threshold = g.clone(), torch.zeros_like(g), torch.zeros(len(groups)).double()
    for j, members in enumerate(groups):
        z = SLOPE * (o_hb[:, members].mean(1, keepdim=True) - gate.threshold[j])
        sig, mask = torch.sigmoid(z).detach(), (z > 0).double().detach()
        slope = SLOPE * sig * (1 - sig) * (mask if gate.sparse else 1)
        through = (g[:, members] * o_lb[:, members]).sum(1, keepdim=True) * slope
        to_hb[:, members] += through / len(members)  # each of k members has the share 1/k of the mean
        to_lb[:, members] = g[:, members] * mask
        to_threshold[j] = -through.sum()
    shape = gate.layer.weight.shape
    # The input has a gradient through the high bits alone.
    to_clipped = nn.grad.conv2d_input(x.shape, weight, to_hb, **pads)
    return {
        "x": to_clipped * (x.abs() <= alpha),
        "range.alpha": (to_clipped * x.sign())[x.abs() > alpha].sum(),
        "threshold": to_threshold,
        "layer.weight": nn.grad.conv2d_weight(i_hb, shape, to_hb, **pads)
        + nn.grad.conv2d_weight(i_lb, shape, to_lb, **pads),
        "layer.bias": g.sum((0, 2, 3)),
    }


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("sparse", [False, True])
def test_gradients_are_the_closed_forms(mask, sparse):
    gate = PGConv2d(conv_of().double(), PGParams(6, 3, mask, weight_bits=5), sparse=sparse)
    calibrated(gate, spread=0.05)
    with torch.no_grad():
        gate.range.alpha.fill_(1.6)
        gate.range.seen.fill_(1.5)
    x = torch.randn(4, 6, 9, 9).double().requires_grad_()
    g = torch.randn(4, 20, 9, 9).double()
    (gate(x) * g).sum().backward()
    result = {"x": x.grad, **{name: p.grad for name, p in gate.named_parameters()}}
    expected = closed_form(gate, x.detach(), g)
    assert result.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(result[name], gradient, msg=lambda text, name=name: f"{name}: {text}")
        assert gradient.any(), name


@pytest.mark.parametrize("mask", MASKS)
def test_the_thresholds_gradient_is_that_of_the_surrogate_by_finite_differences(mask):
    gate = calibrated(PGConv2d(conv_of().double(), PGParams(8, 4, mask)))
    x, g = torch.randn(4, 6, 9, 9).double(), torch.randn(4, 20, 9, 9).double()
    (gate(x) * g).sum().backward()
    parts = split(x, gate.range.alpha, gate.range.seen, 8, 4)
    whole, weight_level = gate.weights()
    high, low = (gate.product(part, whole) for part in parts[:2])
    size = parts.level * weight_level

    @torch.no_grad()
    def surrogate(threshold: Tensor) -> Tensor:
        soft = torch.sigmoid(SLOPE * margins(high, gate.group, threshold, size))
        return (g * (high + soft * low) * size).sum()

    for j in range(len(gate.threshold)):
        nudge = torch.zeros_like(gate.threshold).index_fill(0, torch.tensor(j), 1e-6)
        there, here = surrogate(gate.threshold + nudge), surrogate(gate.threshold - nudge)
        assert float(gate.threshold.grad[j]) == pytest.approx(float(there - here) / 2e-6, rel=1e-5, abs=1e-7)


def test_the_threshold_loss_is_squared():
    gate = PGConv2d(conv_of(), PGParams(target=2.0))
    with torch.no_grad():
        gate.threshold.copy_(torch.linspace(-1, 3, 20))
    loss = gate.loss()
    assert loss.item() == pytest.approx(SIGMA * sum((float(t) - 2) ** 2 for t in gate.threshold.detach()))
    loss.backward()
    torch.testing.assert_close(gate.threshold.grad, 2 * SIGMA * (gate.threshold.detach() - 2))
    at_target = PGConv2d(conv_of(), PGParams(target=0.0))  # a norm without square has no gradient there
    at_target.loss().backward()
    assert not at_target.threshold.grad.any()


@settings(max_examples=40)
@given(
    bits=st.sampled_from([8, 4, 3, 5]),
    high_bits=st.integers(1, 3),
    weight_bits=st.sampled_from([8, 4, 1]),
    mask=st.sampled_from(sorted(MASKS)),
    seed=st.integers(0, 1000),
    single=st.booleans(),
)
def test_integer_arithmetic_gives_the_same_output(bits, high_bits, weight_bits, mask, seed, single):
    kind = torch.float32 if single else torch.float64
    conv = conv_of(4, 20, seed, stride=2, bias=False).to(kind)
    gate = calibrated(PGConv2d(conv, PGParams(bits, high_bits, mask, weight_bits=weight_bits)), seed)
    x = (torch.randn(2, 4, 8, 8) * 1.5).to(kind)
    output = gate(x)
    parts = split(x, gate.range.alpha, gate.range.seen, bits, gate.settings.low_bits)
    whole, weight_level = gate.weights()
    size = parts.level * weight_level
    patches = F.unfold((parts.coarse + parts.fine).double(), 3, padding=1, stride=2).transpose(1, 2)
    limit = integer_limit(gate.threshold, size, gate.group, 20)
    reference = pg_reference(
        patches.to(torch.int32), whole.flatten(1).to(torch.int32), gate.settings.low_bits, limit, gate.group
    )
    high = gate.product(parts.coarse, whole)
    margin = margins(high, gate.group, gate.threshold, size)
    is_open, clear = margin > 0, margin.abs() > 1e-6  # for smaller margins, rounding decides

    def to_map(columns: Tensor) -> Tensor:
        return columns.transpose(1, 2).unflatten(2, (4, 4))

    assert to_map(reference.high).to(kind).equal(high)
    assert to_map(reference.mask)[clear].equal(is_open[clear])
    assert (to_map(reference.output).to(kind) * size)[clear].equal(output[clear])
    assert clear.float().mean() > 0.99 and gate.report()["sparsity"] == pytest.approx(
        1 - is_open.double().mean().item()
    )


@pytest.mark.parametrize("bits", [3, 8, 16])
@pytest.mark.parametrize("mask", MASKS)
def test_a_sample_s_output_does_not_depend_on_its_batch(mask, bits):
    gate = calibrated(PGConv2d(conv_of(), PGParams(bits, 2, mask, weight_bits=8)))
    gate.train()(torch.randn(8, 6, 9, 9))
    gate.eval()
    before = {name: value.clone() for name, value in gate.state_dict().items()}
    x = torch.randn(5, 6, 9, 9)
    x[0] *= 1000
    together = gate(x)
    for i in range(5):
        alone = gate(x[i : i + 1])
        if bits <= 8:  # sums of integers are exact
            assert alone.equal(together[i : i + 1])
        else:
            torch.testing.assert_close(alone, together[i : i + 1])
    assert all(value.equal(before[name]) for name, value in gate.state_dict().items())


def test_a_linear_layer_is_a_convolution_of_one_pixel():
    linear = nn.Linear(6, 20)
    conv = nn.Conv2d(6, 20, 1)
    with torch.no_grad():
        conv.weight.copy_(linear.weight.view(20, 6, 1, 1))
        conv.bias.copy_(linear.bias)
    for mask in MASKS:
        flat, image = (
            calibrated(kind(layer, PGParams(8, 4, mask))) for kind, layer in ((PGLinear, linear), (PGConv2d, conv))
        )
        x = torch.randn(5, 3, 6)
        winners = torch.rand(5, 20) < 0.5
        for given_winners in (None, winners):
            expected = image(x.transpose(1, 2).unsqueeze(3), given_winners).squeeze(3).transpose(1, 2)
            assert flat(x, given_winners).equal(expected)
        assert flat.report() == image.report()
        assert flat(x[:, 0]).equal(flat(x)[:, 0])


def test_only_winners_decide_and_their_sparsity_is_counted_separately():
    gate = calibrated(PGConv2d(conv_of(6, 16), PGParams(8, 4, "m2-8")))
    x = torch.randn(3, 6, 9, 9)
    winners = torch.zeros(3, 16, dtype=torch.bool)
    winners[:, [1, 2, 5]] = True  # the second group has no winner
    output = gate(x, winners)
    report = gate.report()
    parts = split(x, gate.range.alpha, gate.range.seen, 8, 4)
    whole, weight_level = gate.weights()
    high = gate.product(parts.coarse, whole) * parts.level * weight_level
    is_open = high[:, [1, 2, 5]].mean(1) > gate.threshold[0]
    assert 0 < is_open.float().mean() < 1
    assert report["sparsity_winners"] == pytest.approx(1 - float(is_open.float().mean()))
    assert report["sparsity"] == pytest.approx(1 - float(is_open.float().mean()) * 3 / 16)
    assert report["outputs"] == 3 * 16 * 81
    closed = gate(x, torch.zeros_like(winners))
    assert output[:, [c for c in range(16) if c not in (1, 2, 5)]].equal(
        closed[:, [c for c in range(16) if c not in (1, 2, 5)]]
    )
    everyone = PGConv2d(gate.layer, gate.settings)
    everyone.load_state_dict(gate.state_dict())
    assert everyone.eval()(x, torch.ones_like(winners)).equal(everyone(x))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("settings", [(8, 4), (8, 8)])
def test_gathered_outputs_equal_masked_outputs(mask, settings):
    gate = calibrated(PGConv2d(conv_of(6, 20), PGParams(*settings, mask)))
    x = torch.randn(1, 6, 9, 9)
    present, won = torch.tensor([0, 2, 3]), torch.tensor([0, 1, 9, 10, 17, 19])
    x[:, [1, 4, 5]] = 0
    winners = torch.zeros(1, 20, dtype=torch.bool).index_fill(1, won, True)
    masked = gate(x, winners)[:, won]
    assert gate.compute_winners(x[:, present], present, won).equal(masked)
    assert gate.compute_winners(x, None, won).equal(masked)


def test_observations_add_up_over_batches_until_reset():
    gate = calibrated(PGConv2d(conv_of(), PGParams()))
    assert gate.report() == {}
    x = torch.randn(6, 6, 9, 9)
    gate(x)
    whole = gate.report()
    gate.reset()
    assert gate.report() == {}
    gate(x[:2])
    gate.train()(x)  # training is not observed
    gate.eval().load_state_dict(calibrated(PGConv2d(conv_of(), PGParams())).state_dict())
    gate(x[2:])
    assert gate.report() == whole and 0 < whole["sparsity"] < 1
    assert not any("observed" in name for name in gate.state_dict())


@pytest.mark.parametrize(("layer", "shape"), [(conv_of(), (6, 9, 9)), (nn.Linear(6, 20), (6,))])
def test_training_lowers_the_loss_and_moves_the_thresholds(layer, shape):
    torch.manual_seed(1)
    site = CONV if isinstance(layer, nn.Conv2d) else LINEAR
    gate = build_gate(site, PlacedGate.of("pg", "here", bits=4, high_bits=2, target=0.5), layer)
    first = torch.randn(32, *shape).relu()
    controls = list(gate.control_parameters())
    rest = [p for p in gate.parameters() if all(p is not other for other in controls)]
    optimizer = torch.optim.SGD([{"params": rest, "lr": 0.1}, {"params": controls, "lr": 1.0}])
    losses = []
    for i in range(40):
        x = torch.randn(32, *shape).relu() if i else first
        expected = layer(x).detach().relu() * 1.5 - 0.5
        optimizer.zero_grad()
        loss = F.mse_loss(gate(x), expected) + gate.loss()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert gate.threshold.abs().min() > 0
    alpha = gate.range.alpha.detach()
    assert alpha != first.max() and (alpha - first.max()).abs() < 0.5  # the first batch sets its initial value


@pytest.mark.parametrize("target", [-1.0, 3.0])
def test_thresholds_and_sparsity_move_towards_their_target(target):
    torch.manual_seed(0)
    gate = PGConv2d(conv_of(), PGParams(target=target)).train()
    x = torch.randn(16, 6, 9, 9)
    gate(x)
    optimizer = torch.optim.SGD([gate.threshold], lr=100)
    for _ in range(30):
        optimizer.zero_grad()
        gate.loss().backward()
        optimizer.step()
    torch.testing.assert_close(gate.threshold, torch.full((20,), target), atol=0.01, rtol=0)
    gate.eval()(x)
    assert (gate.report()["sparsity"] > 0.95) == (target > 0) and (gate.report()["sparsity"] < 0.2) == (target < 0)


@pytest.mark.parametrize("kind", [PGConv2d, PGLinear, PGLSTM])
def test_the_state_survives_a_round_trip(kind):
    layers = {PGConv2d: conv_of, PGLinear: lambda: nn.Linear(6, 20), PGLSTM: lambda: nn.LSTM(6, 5, batch_first=True)}
    shape = {PGConv2d: (6, 9, 9), PGLinear: (6,), PGLSTM: (4, 6)}[kind]
    settings = PGParams(8, 4, "m2-8")
    gate = kind(layers[kind](), settings).train()
    gate(torch.randn(8, *shape))
    calibrated(gate)
    file = io.BytesIO()
    torch.save(gate.state_dict(), file)
    file.seek(0)
    copied = kind(layers[kind](), settings).eval()
    copied.load_state_dict(torch.load(file, weights_only=True))
    x = torch.randn(3, *shape)
    for there, here in zip(
        torch.utils._pytree.tree_leaves(gate(x)), torch.utils._pytree.tree_leaves(copied(x)), strict=True
    ):
        assert there.equal(here)


def test_the_original_layer_is_not_changed():
    conv = conv_of()
    before = conv.weight.detach().clone()
    gate = PGConv2d(conv, PGParams()).train()
    optimizer = torch.optim.SGD(gate.parameters(), lr=1.0)
    gate(torch.randn(2, 6, 9, 9)).square().sum().backward()
    optimizer.step()
    assert conv.weight.equal(before) and not gate.layer.weight.equal(before)


def test_half_precision_changes_nothing():
    gate = calibrated(PGConv2d(conv_of(), PGParams()))
    x = torch.randn(2, 6, 9, 9)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, winners = gate(x), gate.compute_winners(x[:1], None, torch.arange(20))
    assert output.dtype == torch.float32 and output.equal(gate(x)) and winners.equal(output[:1])


def test_weights_of_32_bits_are_not_quantised():
    conv = conv_of()
    gate = constant(calibrated(PGConv2d(conv, PGParams(16, 8, weight_bits=32))), -math.inf)
    x = torch.randn(2, 6, 9, 9).clamp(-2.5, 2.5)
    torch.testing.assert_close(gate(x), conv(x), atol=2e-3, rtol=0)


@pytest.mark.parametrize("mask", ["3d", "m2-8"])
def test_a_gated_layer_exports_as_standard_operators(mask):
    gate = calibrated(PGConv2d(conv_of(), PGParams(8, 4, mask)))
    x = torch.randn(2, 6, 9, 9)
    exported = torch.export.export(gate, (x,)).module()
    assert exported(x).equal(gate(x))


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_an_lstm_with_all_bits_open_is_nearly_the_lstm(batch_first, bias):
    torch.manual_seed(0)
    lstm = nn.LSTM(6, 5, batch_first=batch_first, bias=bias)
    gate = calibrated(PGLSTM(lstm, PGParams(16, 8, weight_bits=16)))
    for part in (gate.input, gate.state):
        constant(part, -math.inf)
    x = torch.randn(3, 7, 6).clamp(-2.5, 2.5)
    state = (torch.rand(1, 3 if batch_first else 7, 5) * 2 - 1, torch.randn(1, 3 if batch_first else 7, 5))
    for given_state in (None, state):
        (output, (h, c)), (expected, (wanted_h, wanted_c)) = gate(x, given_state), lstm(x, given_state)
        for there, here in ((output, expected), (h, wanted_h), (c, wanted_c)):
            torch.testing.assert_close(there, here, atol=1e-3, rtol=0)


def test_an_lstm_counts_both_products_and_trains():
    torch.manual_seed(0)
    gate = PGLSTM(nn.LSTM(12, 5, batch_first=True), PGParams(4, 2, target=1.0)).train()
    x = torch.randn(4, 7, 12)
    (gate(x)[0].square().sum() + gate.loss()).backward()
    assert all(p.grad.isfinite().all() for p in gate.parameters())
    controls = {id(p) for p in gate.control_parameters()}
    assert controls == {id(gate.input.threshold), id(gate.state.threshold), id(gate.input.range.alpha)}
    constant(gate.input, -math.inf)
    constant(gate.state, math.inf)
    gate.eval()(x)
    report = gate.report()
    assert report == {"sparsity": 0.5, "weighted_sparsity": pytest.approx(5 / 17), "outputs": 2 * 4 * 7 * 20}
    single, together = gate(x[1:2])[0], gate(x)[0]
    assert single.equal(together[1:2])
    gate.reset()
    assert gate.report() == {}


@pytest.mark.parametrize(
    ("op", "layer"),
    [
        ("conv2d", nn.Conv2d(6, 6, 3, groups=6)),
        ("conv2d", nn.Linear(6, 6)),
        ("linear", nn.Conv2d(6, 6, 3)),
        ("lstm", nn.LSTM(6, 5, num_layers=2)),
        ("lstm", nn.LSTM(6, 5, bidirectional=True)),
        ("lstm", nn.LSTM(6, 5, proj_size=2)),
    ],
)
def test_a_layer_that_cannot_be_gated_is_refused(op, layer):
    site = LayerSite("here", op, (6, 9, 9), (6, 7, 7), 1, 1)
    with pytest.raises(UserError, match="pg gate at here: needs a"):
        build_gate(site, PlacedGate.of("pg", "here"), layer)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"bit": 8}, "unknown parameter 'bit'; nearest: 'bits'"),
        ({"mask": "m3"}, "unknown mask 'm3'"),
        ({"mask": None}, "unknown mask 'None'"),
        ({"bits": 0}, "bits: 0 is not a whole number from 1 to 16"),
        ({"bits": 17}, "bits: 17 is not"),
        ({"bits": 8.0}, "bits: 8.0 is not"),
        ({"bits": True}, "bits: True is not"),
        ({"bits": 4, "high_bits": 5}, "high_bits: 5 is not a whole number from 1 to bits, 4"),
        ({"high_bits": 0}, "high_bits: 0 is not"),
        ({"weight_bits": 20}, "weight_bits: 20 is neither"),
        ({"weight_bits": "8"}, "weight_bits: '8' is not a whole number"),
        ({"target": math.inf}, "target: inf is not a finite number"),
        ({"target": "low"}, "target: 'low' is not"),
        ({"target": False}, "target: False is not"),
    ],
)
def test_parameters_are_checked(params, message):
    placed = PlacedGate.of("pg", "here", **params)
    for attempt in (lambda: build_gate(CONV, placed, conv_of()), lambda: work_of(CONV, placed)):
        with pytest.raises(UserError) as caught:
            attempt()
        assert str(caught.value).startswith("pg gate at here: ") and message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_weights_have_the_bits_of_the_input_by_default():
    assert PGParams.read({"bits": 4, "high_bits": 2}).weight_bits == 4
    assert PGParams.read({}) == PGParams()
    assert PGParams.read({"weight_bits": None}).weight_bits == 32
    assert PGParams.read({"bits": 4, "high_bits": 4, "weight_bits": 8}).weight_bits == 8


def test_remaining_work_is_the_high_bits_and_the_open_share_of_the_low_bits():
    placed = PlacedGate.of("pg", "here", bits=8, high_bits=2, mask="m2-16")
    least = work_of(CONV, placed)
    assert least.calls == (Call((2, 8)), Call((6, 8), (("pixel-group-16", 0.0),)))
    assert (least.macs, least.params, least.density) == (0.0, 2 + 1, 1.0)
    observed = work_of(CONV, placed, {"sparsity": 0.1, "weighted_sparsity": 0.25, "outputs": 9.0})
    assert observed.calls == (Call((2, 8)), Call((6, 8), (("pixel-group-16", 0.75),)))
    assert work_of(CONV, placed, {}) == least
    skips = {"3d": "element", "m1": "pixel", **{f"m2-{k}": f"pixel-group-{k}" for k in (8, 16, 32)}}
    for mask, named in skips.items():
        work = work_of(CONV, PlacedGate.of("pg", "here", mask=mask))
        assert work.calls[1].remaining[0][0] == named
        gate = build_gate(CONV, PlacedGate.of("pg", "here", mask=mask), conv_of())
        assert work.params == sum(p.numel() for p in gate.parameters()) - sum(
            p.numel() for p in gate.layer.parameters()
        )
    plain = work_of(CONV, PlacedGate.of("pg", "here", bits=4, high_bits=4, weight_bits=None))
    assert plain.calls == (Call((4, 32)),)


def test_the_measured_share_is_the_priced_share():
    gate = calibrated(PGConv2d(conv_of(), PGParams(8, 2, "m1")), spread=0.01)
    gate(torch.randn(4, 6, 9, 9))
    report = gate.report()
    calls = work_of(CONV, PlacedGate.of("pg", "here", bits=8, high_bits=2, mask="m1"), report).calls
    average = sum(call.share * call.bits[0] for call in calls)
    assert average == pytest.approx(average_bits(8, 2, report["sparsity"])) and 2 < average < 8


def test_pg_fits_layers_without_groups_and_offers_its_choices():
    net = nn.Sequential(
        nn.Conv2d(3, 40, 3),
        nn.ReLU(),
        nn.Conv2d(40, 40, 3, groups=40),
        nn.Conv2d(40, 8, 1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    sites = layer_sites(net, torch.zeros(1, 3, 5, 5))
    assert [fits("pg", site) for site in sites] == [True, True, True]  # a convolution with groups is no site
    assert not fits("pg", CutSite("here", (8,), 1, 1, 1, 1, "here"))
    assert not fits("pg", LayerSite("here", "gru", (8,), (8,), 1, 1))
    assert [PG().choices(sites[i])["mask"] for i in (0, 1, 2)] == [tuple(MASKS), ("3d", "m1"), ("3d", "m1")]
    for site in (sites[0], sites[2]):
        choices = PG().choices(site)
        for bits in choices["bits"]:
            for high_bits in choices["high_bits"]:
                work_of(site, PlacedGate.of("pg", "here", bits=bits, high_bits=high_bits))
    lstm = LayerSite("here", "lstm", (7, 6), (7, 5), 1, 1)
    assert fits("pg", lstm)
    assert work_of(lstm, PlacedGate.of("pg", "here", mask="m2-8")).params == 2 * 3 + 1


def test_pg_is_a_layer_kind_and_its_module_a_layer_gate():
    assert PG().site_type is LayerSite
    gate = build_gate(CONV, PlacedGate.of("pg", "here"), conv_of(), nn.BatchNorm2d(20))
    assert isinstance(gate, LayerGate) and gate.traced_whole and not gate.absorbs_norm
    gate.anneal(0.5)
    assert gate(torch.randn(2, 6, 9, 9)).shape == (2, 20, 9, 9)
