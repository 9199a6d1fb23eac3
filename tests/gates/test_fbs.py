"""Tests of Feature Boosting and Suppression (FBS): winners, gradients, skipped channels, work and parameters.

For each sample, FBS predicts a gain g for each channel. It computes only the channels with the largest gains, the
winners.
"""

from __future__ import annotations

import copy
import io
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch.errors import UserError
from gatesearch.gates import Call, GateError, LayerGate, build_gate, fits, work_of
from gatesearch.gates.fbs import FBS, LASSO, FBSConv2d, skip_through, training_density, unfold
from gatesearch.graph.sites import CutSite, LayerSite, layer_sites
from gatesearch.plan import PlacedGate


def norm_of(channels: int, negative: bool = True) -> nn.BatchNorm2d:
    """Return a batch normalisation with random statistics and, if ``negative``, gammas of both signs."""
    norm = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.2)
    with torch.no_grad():
        norm.weight.uniform_(0.3, 1.5)
        if negative:
            norm.weight[::2] *= -1
        norm.bias.normal_()
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
        norm.num_batches_tracked.fill_(7)
    return norm


def site_of(conv: nn.Conv2d, size: int = 9, name: str = "0") -> LayerSite:
    [site] = layer_sites(nn.Sequential(conv), torch.zeros(1, conv.in_channels, size, size, dtype=conv.weight.dtype))
    return LayerSite(name, site.op, site.shape_in, site.shape, site.macs, site.params)


def gate(conv: nn.Conv2d, norm: nn.BatchNorm2d | None = None, **params) -> FBSConv2d:
    return build_gate(site_of(conv), PlacedGate.of("fbs", "0", **params), conv, norm).eval()


def moved(layer: FBSConv2d, spread: float = 1.0) -> FBSConv2d:
    """Set random parameters, as after a training, so that the winners depend on the sample."""
    with torch.no_grad():
        layer.predictor.weight.normal_(std=spread)
        layer.beta.normal_()
    return layer


@pytest.mark.parametrize("training", [True, False])
def test_at_density_1_and_gain_1_the_layer_equals_convolution_and_batch_norm_bit_for_bit(training):
    torch.manual_seed(0)
    layers = [
        (nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)),
        (nn.Conv2d(8, 6, 3, 2), nn.BatchNorm2d(6)),
    ]
    layers[1][0].bias.data.zero_()
    plain = nn.Sequential(*(nn.Sequential(conv, norm, nn.ReLU()) for conv, norm in layers)).train(training)
    gated = nn.Sequential(*(nn.Sequential(gate(conv, norm), nn.ReLU()) for conv, norm in layers)).train(training)
    for block in gated:
        block[0].predictor.weight.data.zero_()
    x = torch.randn(4, 3, 9, 9)
    assert torch.equal(gated(x), plain(x))
    assert torch.equal(gated[1][0].norm.running_var, plain[1][1].running_var)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("with_norm", [True, False])
def test_a_trained_layer_with_gammas_of_both_signs_is_unchanged_at_density_1(with_norm, bias, affine):
    torch.manual_seed(0)
    conv = nn.Conv2d(5, 8, 3, stride=2, padding=1, bias=bias, padding_mode="reflect").double()
    norm = norm_of(8).double() if affine else nn.BatchNorm2d(8, affine=False).double()
    norm = norm if with_norm else None
    plain = nn.Sequential(conv, norm or nn.Identity()).eval()
    gated = gate(conv, norm, density=1.0)
    x = torch.rand(4, 5, 9, 9).double()
    expected = plain(x)
    assert (gated(x) - expected).abs().max() < 0.02 * expected.abs().max()  # the predictor's weights are random
    nn.init.zeros_(gated.predictor.weight)
    torch.testing.assert_close(gated(x), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(gated.train()(x), plain.train()(x), rtol=0, atol=1e-12)
    # The pass in training mode changed the running statistics of both in the same way.
    torch.testing.assert_close(gated.eval()(x), plain.eval()(x), rtol=0, atol=1e-12)


@given(
    channels=st.integers(1, 40),
    density=st.floats(0.01, 1.0),
    block=st.sampled_from([1, 16]),
    draw=st.data(),
)
@settings(deadline=None, max_examples=60)
def test_exactly_k_groups_win_and_they_are_the_largest_even_with_ties_at_zero(channels, density, block, draw):
    values = st.lists(st.sampled_from([0.0, 0.0, 0.5, 2.0]), min_size=channels, max_size=channels)
    boost = torch.tensor(draw.draw(st.lists(values, min_size=1, max_size=3)))
    layer = gate(nn.Conv2d(2, channels, 1), density=density, block=block)
    won = layer.winners(boost, density)
    groups = math.ceil(channels / block)
    for g, w in zip(boost.split(1), won.split(1), strict=True):
        runs = [(float(r.mean()), v) for r, v in zip(g[0].split(block), w[0].split(block), strict=True)]
        assert all(v.all() or not v.any() for _, v in runs)
        winning = [score for score, v in runs if v.all()]
        assert len(winning) == math.ceil(density * groups - 1e-9)
        assert min(winning) >= max((score for score, v in runs if not v.any()), default=-1.0) - 1e-6


def test_a_layer_whose_every_g_is_zero_still_has_k_winners():
    layer = gate(nn.Conv2d(3, 10, 3), density=0.3)
    nn.init.constant_(layer.predictor.bias, -5.0)
    x = torch.rand(2, 3, 9, 9)
    assert layer.boost(x).eq(0).all()
    assert layer.winners(layer.boost(x), 0.3).sum(1).tolist() == [3, 3]
    wide = gate(nn.Conv2d(3, 512, 3), density=0.5)
    assert wide.winners(torch.zeros(2, 512), 0.5)[:, :256].all()  # among equal channels the first win


@pytest.mark.parametrize(("block", "groups"), [(1, 32), (16, 2)])
def test_losers_get_no_gradient_and_winners_the_product_rule(block, groups):
    torch.manual_seed(1)
    layer = moved(gate(nn.Conv2d(4, 32, 3, bias=False), norm_of(32), density=0.5, block=block)).double()
    x, pull = torch.rand(3, 4, 9, 9).double().requires_grad_(), torch.randn(3, 32, 7, 7).double()
    won = layer.winners(layer.boost(x), 0.5)
    assert won.sum(1).tolist() == [groups // 2 * block] * 3

    weight, phi, rho, beta = layer.inner.weight, layer.predictor.weight, layer.predictor.bias, layer.beta
    z = (F.conv2d(x, weight) - layer.norm.running_mean.view(-1, 1, 1)) / (
        layer.norm.running_var + layer.norm.eps
    ).sqrt().view(-1, 1, 1)
    g = (x.mean((2, 3)) @ phi.T + rho).clamp(min=0)
    a = won.double()[..., None, None]
    plain = a * (g[..., None, None] * z + beta.view(-1, 1, 1))
    expected = torch.autograd.grad((plain * pull).sum(), [x, weight, phi, rho, beta])
    y = layer(x)
    torch.testing.assert_close(y, plain)
    result = torch.autograd.grad((y * pull).sum(), [x, weight, phi, rho, beta])
    for one, other in zip(result, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)

    # With a single sample, the parameters of channels that lost have no gradient.
    grads = torch.autograd.grad((layer(x[:1]) * pull[:1]).sum(), [weight, phi, rho, beta])
    for grad in grads:
        by_channel = grad.flatten(1).abs().sum(1) if grad.ndim > 1 else grad.abs()
        assert by_channel[~won[0]].eq(0).all() and by_channel[won[0] & (g[0] > 0)].gt(0).all()


def test_the_lasso_loss_concerns_the_g_of_winners_only():
    torch.manual_seed(2)
    layer = moved(gate(nn.Conv2d(4, 10, 3), density=0.3)).train()
    assert layer.loss().item() == 0.0
    x = torch.rand(5, 4, 9, 9)
    layer(x)
    g = layer.boost(x)
    won = layer.winners(g, 0.3)
    assert layer.loss().item() == pytest.approx(LASSO * (g * won).sum().item() / 5, rel=1e-5)
    layer.loss().backward()
    lost_always = ~won.any(0)
    assert lost_always.any() and layer.predictor.bias.grad[lost_always].eq(0).all()
    assert layer.predictor.bias.grad[(won & (g > 0)).any(0)].gt(0).all()


def chain(block: int, with_norm: bool) -> nn.Sequential:
    torch.manual_seed(3)
    shapes = [
        (3, 48, {"padding": 1}),
        (48, 40, {"stride": 2, "padding": 1}),
        (40, 64, {"dilation": 2, "padding": "same"}),
    ]
    modules: list[nn.Module] = []
    for i, (inputs, outputs, how) in enumerate(shapes):
        conv = nn.Conv2d(inputs, outputs, 3, bias=not with_norm, **how)
        norm = norm_of(outputs) if with_norm else None
        modules += [moved(gate(conv, norm, density=(0.5, 0.7, 0.3)[i], block=block), 0.5), nn.ReLU()]
    modules[2:2] = [nn.MaxPool2d(2), nn.Dropout()]
    return nn.Sequential(*modules).double().eval()


@pytest.mark.parametrize("block", [1, 16])
@pytest.mark.parametrize("with_norm", [True, False])
def test_a_chain_of_layers_that_skips_channels_equals_the_masked_chain(block, with_norm):
    net = chain(block, with_norm)
    images = (torch.rand(6, 3, 12, 12) * torch.rand(6, 3, 1, 1) * 4).double()
    masked, winners = net(images), set()
    for x, expected in zip(images, masked, strict=True):
        present, channels = skip_through(net, x.unsqueeze(0))
        result = torch.zeros_like(expected).index_copy(0, channels, present[0])
        torch.testing.assert_close(result, expected)
        assert present.shape[1] == len(channels) == (math.ceil(0.3 * 64) if block == 1 else 32)
        winners.add(tuple(channels.tolist()))
    assert len(winners) > 1  # winners differ between samples


@pytest.mark.parametrize("block", [1, 16])
def test_skipped_channels_are_never_read(block):
    net = chain(block, True)
    layer: FBSConv2d = net[4]
    x = torch.rand(1, 48, 6, 6).double()
    inputs = torch.arange(5, 40, 3)
    sparse = torch.zeros_like(x).index_copy(1, inputs, x[:, inputs])
    expected = layer(sparse)[0]
    absent = torch.ones(48, dtype=torch.bool).index_fill(0, inputs, False)
    lost = ~layer.winners(layer.boost(sparse), layer.density)[0]
    with torch.no_grad():
        layer.inner.weight[:, absent] = math.nan
        layer.inner.weight[lost] = math.nan
        layer.predictor.weight[:, absent] = math.nan
        layer.norm.running_mean[lost] = layer.beta[lost] = math.nan
    result, winners = layer.skip(x[:, inputs], inputs)
    torch.testing.assert_close(result, expected[winners])


def test_skipping_computes_as_in_evaluation_in_both_modes():
    net = chain(1, True)
    layer: FBSConv2d = net[0]
    x = torch.rand(1, 3, 12, 12).double()
    expected, winners = layer.skip(x)
    layer.train().anneal(0.0)
    mean = layer.norm.running_mean.clone()
    result, same = layer.skip(x)
    assert torch.equal(result, expected) and torch.equal(winners, same) and torch.equal(layer.norm.running_mean, mean)


@pytest.mark.parametrize("block", [1, 16])
def test_evaluation_does_not_depend_on_the_batch(block):
    net = chain(block, True)
    images = torch.rand(8, 3, 12, 12).double() * torch.logspace(-2, 2, 8).view(-1, 1, 1, 1)
    together = net(images)
    for i in range(8):
        torch.testing.assert_close(net(images[i : i + 1])[0], together[i])
    torch.testing.assert_close(net(images.flip(0)).flip(0), together)


def test_density_falls_in_steps_over_the_first_half_of_a_training_and_never_in_evaluation():
    layer = moved(gate(nn.Conv2d(3, 20, 3), density=0.65))
    x = torch.rand(2, 3, 9, 9)

    def share(training: bool) -> float:
        y = layer.train(training)(x)
        return float((y != 0).any((2, 3)).double().mean())

    assert share(True) == share(False) == 0.65
    densities = []
    for step in range(21):
        layer.anneal(step / 20)
        densities.append(share(True))
        assert share(False) == 0.65
    assert densities[0] == 1.0 and set(densities) == {1.0, 0.9, 0.8, 0.7, 0.65}
    assert densities == sorted(densities, reverse=True) and all(value == 0.65 for value in densities[10:])
    assert densities[9] == 0.7
    assert [training_density(0.5, p / 10) for p in range(6)] == [1.0, 0.9, 0.8, 0.7, 0.6, 0.5]


def test_a_new_module_loads_a_checkpoint_and_evaluates_at_its_density():
    torch.manual_seed(4)
    conv, x = nn.Conv2d(3, 32, 3), torch.rand(3, 3, 9, 9)
    layer = moved(gate(conv, norm_of(32), density=0.5, block=16))
    layer.train().anneal(0.1)
    layer(x)
    layer.eval()(x)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert set(state) == {
        "inner.weight", "predictor.weight", "predictor.bias", "beta",
        "norm.running_mean", "norm.running_var", "norm.num_batches_tracked",
    }  # fmt: skip
    fresh = gate(nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32, eps=1e-3), density=0.5, block=16)
    fresh.load_state_dict(state)
    assert torch.equal(fresh(x), layer(x))
    assert fresh(x).ne(0).any(3).any(2).sum(1).tolist() == [16, 16, 16]


def test_report_counts_over_evaluation_only_and_reset_forgets():
    torch.manual_seed(5)
    layer = gate(nn.Conv2d(3, 20, 3), density=0.5)
    assert layer.report() == {}
    layer.train()(torch.rand(4, 3, 9, 9))
    assert layer.report() == {}
    layer.eval()
    for count in (1, 7):
        layer(torch.rand(count, 3, 9, 9))
    assert layer.report() == {"density": 0.5, "winners_per_sample": 10.0, "nonzero": 0.5}
    assert all(type(value) is float for value in layer.report().values())
    layer.reset()
    assert layer.report() == {}
    # A winner with g = 0 and beta = 0 has only zeros as outputs, so it lowers "nonzero".
    with torch.no_grad():
        layer.predictor.weight.zero_()
        layer.predictor.bias.copy_(torch.arange(20) - 13.5)
        layer.beta.zero_()
    layer(torch.rand(2, 3, 9, 9))
    assert layer.report() == {"density": 0.5, "winners_per_sample": 10.0, "nonzero": 0.3}


def test_it_can_be_copied_and_saved_after_a_training_step():
    layer = gate(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), density=0.5).train()
    x = torch.rand(2, 3, 9, 9)
    layer(x)
    twin = copy.deepcopy(layer)
    assert twin.loss().item() == 0.0 < layer.loss().item()
    assert torch.equal(twin.eval()(x), layer.eval()(x))
    torch.save(layer, io.BytesIO())


def test_it_can_be_exported_and_observes_nothing_then():
    torch.manual_seed(8)
    layer = moved(gate(nn.Conv2d(3, 40, 3), norm_of(40), density=0.5, block=16))
    x = torch.rand(1, 3, 9, 9)
    exported = torch.export.export(layer, (x,))
    assert layer.report() == {}
    torch.testing.assert_close(exported.module()(x), layer(x))
    assert not any("sort" in str(node.target) for node in exported.graph.nodes)


def test_half_precision_does_not_change_the_winners():
    torch.manual_seed(6)
    layer = moved(gate(nn.Conv2d(3, 64, 3), norm_of(64), density=0.5), 1e-4)
    x = torch.rand(4, 3, 9, 9)
    g = layer.boost(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer.boost(x), g)
        y = layer(x)
    assert torch.equal(y.ne(0).any(3).any(2), layer(x).ne(0).any(3).any(2))
    assert len(g.bfloat16().unique()) < len(g.unique())  # half precision makes gains equal


def test_a_tiny_network_learns_at_density_one_half():
    torch.manual_seed(7)
    patterns = torch.randn(4, 1, 8, 8)
    labels = torch.arange(64) % 4

    def images(noise: float = 0.7) -> Tensor:
        return patterns[labels] + noise * torch.randn(64, 1, 8, 8)

    convs = [nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)]
    gates = [gate(conv, nn.BatchNorm2d(16), density=0.5) for conv in convs]
    net = nn.Sequential(gates[0], nn.ReLU(), nn.MaxPool2d(2), gates[1], nn.ReLU(), nn.Flatten(), nn.Linear(256, 4))
    start = gates[0].predictor.weight.clone()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    net.train()
    for step in range(60):
        for layer in gates:
            layer.anneal(step / 59)
        loss = F.cross_entropy(net(images()), labels) + sum(layer.loss() for layer in gates)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    assert float((net(images()).argmax(1) == labels).float().mean()) > 0.9
    assert [layer.report()["density"] for layer in gates] == [0.5, 0.5]
    assert (gates[0].predictor.weight - start).abs().max() > 0.01  # the predictor has learned too


# Convolutions of M-CifarNet: input channels, output channels, output height and width.
M_CIFARNET = [
    (3, 64, 30, 30), (64, 64, 30, 30), (64, 128, 15, 15), (128, 128, 15, 15),
    (128, 128, 15, 15), (128, 192, 8, 8), (192, 192, 8, 8), (192, 192, 8, 8),
]  # fmt: skip


def cifarnet_sites() -> list[LayerSite]:
    return [
        LayerSite(
            f"conv{i}", "conv2d", (inputs, h, w), (outputs, h, w), 9 * inputs * outputs * h * w, 9 * inputs * outputs
        )
        for i, (inputs, outputs, h, w) in enumerate(M_CIFARNET)
    ]


def chain_macs(sites: list[LayerSite], density: float) -> tuple[float, float, int]:
    """Return the MACs of the layers, and the MACs and parameters of FBS's own parts.

    Each layer reads the channels that the layer before computed.
    """
    read, layers, own, params = 1.0, 0.0, 0.0, 0
    for site in sites:
        work = work_of(site, PlacedGate.of("fbs", site.name, density=density))
        [call] = work.calls
        layers += site.macs * read * call.share
        own += work.macs
        params += work.params
        read = work.density
    return layers + 1920 * read, own, params  # the classifier reads the last layer


@pytest.mark.parametrize(
    ("density", "millions", "saving", "with_own"),
    [
        (1.0, 174.30, 1.0, 0.998),
        (0.9, 142.8, 1.220, 1.217),
        (0.8, 113.4, 1.537, 1.531),
        (0.7, 86.5, 2.015, 2.006),
        (0.6, 64.0, 2.723, 2.707),
        (0.5, 43.96, 3.965, 3.930),
        (0.4, 28.9, 6.02, 5.95),
        (0.3, 16.6, 10.5, 10.2),
    ],
)
def test_the_published_macs_of_m_cifarnet_are_reproduced(density, millions, saving, with_own):
    sites = cifarnet_sites()
    dense, own_at_1, params = chain_macs(sites, 1.0)
    assert (dense, own_at_1, params) == (174_301_824, 382_016, 143_552 + 1_088)
    macs, own, _ = chain_macs(sites, density)
    digits = 2 if millions in (174.30, 43.96) else 1
    assert round(macs / 1e6, digits) == millions
    assert dense / macs == pytest.approx(saving, abs=0.06 if saving > 10 else 0.006 if saving > 6 else 0.0006)
    # The expected figures count a product with g for every output. Only outputs of winners need one.
    assert dense / (macs + own_at_1) == pytest.approx(
        with_own, abs=0.06 if saving > 10 else 0.006 if saving > 5 else 6e-4
    )
    assert own == pytest.approx(143_552 + 238_464 * density, rel=0.01)
    assert own <= own_at_1 and dense / (macs + own) >= dense / (macs + own_at_1)


def test_work_equals_that_computed_by_hand_for_channels_blocks_and_observed_shares():
    site = LayerSite("c", "conv2d", (8, 5, 5), (40, 5, 5), 40 * 8 * 9 * 25, 40 * 8 * 9)

    def work(observed=None, **params):
        return work_of(site, PlacedGate.of("fbs", "c", **params), observed)

    assert work(density=0.33).calls == (Call((8, 8), (("channel", 14 / 40),)),)
    assert work(density=0.33).macs == 8 * 40 + 14 * 25 and work(density=0.33).params == 8 * 40 + 40
    assert work(density=1.0).calls == (Call((8, 8)),) and work(density=1.0).density == 1.0
    # The 40 channels make groups of 16, 16 and 8, so two groups have from 24 to 32 channels.
    assert work(density=0.5, block=16).calls == (Call((8, 8), (("channel-block-16", 24 / 40),)),)
    assert work({"density": 0.7}, density=0.5, block=16).calls[0].share == 0.7
    assert work({"density": 0.7}, density=0.5, block=16).density == 0.7
    assert work({}, density=0.5, block=16).density == 0.6
    conv = nn.Conv2d(8, 40, 3, padding=1)
    layer = moved(gate(conv, density=0.5, block=16))
    layer(torch.rand(16, 8, 5, 5))
    assert 0.6 <= layer.report()["density"] <= 0.8


def test_fbs_fits_convolutions_without_groups_and_offers_its_choices():
    kind = FBS()
    assert kind.site_type is LayerSite and isinstance(gate(nn.Conv2d(3, 8, 3)), LayerGate)
    net = nn.Sequential(
        nn.Conv2d(4, 24, 3), nn.Conv2d(24, 24, 3, groups=24), nn.Conv2d(24, 1, 1), nn.Flatten(), nn.Linear(16, 8)
    )
    sites = layer_sites(net, torch.zeros(1, 4, 8, 8))
    assert [fits("fbs", site) for site in sites] == [True, False, False]  # a convolution with groups is no site
    assert not fits("fbs", CutSite("here", (8, 4, 4), 1, 1, 1, 1, "here"))
    assert kind.choices(sites[0]) == {"density": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), "block": (16, 1)}
    assert kind.choices(site_of(nn.Conv2d(4, 16, 3)))["block"] == (1,)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"densty": 0.5}, "fbs gate at 0: unknown parameter 'densty'; nearest: 'density' (choices: density, block)"),
        ({"density": 0.0}, "fbs gate at 0: density: 0.0 is not in (0, 1]"),
        ({"density": True}, "fbs gate at 0: density: True is not in (0, 1]"),
        ({"density": "half"}, "fbs gate at 0: density: 'half' is not in (0, 1]"),
        ({"block": 4}, "fbs gate at 0: block: 4 is not one of 1, 16"),
        ({"block": True}, "fbs gate at 0: block: True is not one of 1, 16"),
    ],
)
def test_impossible_parameters_are_refused(params, message):
    conv = nn.Conv2d(3, 8, 3)
    for ask in (
        lambda: gate(conv, **params),
        lambda: work_of(site_of(conv), PlacedGate.of("fbs", "0", **params)),
    ):
        with pytest.raises(UserError) as error:
            ask()
        assert str(error.value) == message


def test_impossible_layers_are_refused():
    with pytest.raises(GateError, match=r"^needs a convolution without groups, not Conv2d\(4, 8, .*groups=2\)$"):
        unfold(nn.Conv2d(4, 8, 3, groups=2), None)
    with pytest.raises(GateError, match=r"^needs a convolution without groups, not Linear"):
        unfold(nn.Linear(4, 8), None)
    with pytest.raises(GateError, match="keeps no running statistics"):
        unfold(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8, track_running_stats=False))
