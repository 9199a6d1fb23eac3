"""Tests of layers that have both Feature Boosting and Suppression (FBS) and Precision Gating (PG)."""

from __future__ import annotations

import copy
import io
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch.errors import UserError
from gatesearch.gates import Call, LayerGate, build_gate, fits, work_of
from gatesearch.gates.fbs import LASSO, FBSConv2d, skip_through
from gatesearch.gates.hybrid import Hybrid
from gatesearch.gates.pg import SIGMA
from gatesearch.gates.quantise import quantise, truncate
from gatesearch.graph.sites import LayerSite, layer_sites
from gatesearch.plan import PlacedGate
from results.dsg.savings import GatedLayer, approximate_saving, average_bits, exact_saving


def site_of(conv: nn.Conv2d, size: int = 9) -> LayerSite:
    [site] = layer_sites(nn.Sequential(conv), torch.zeros(1, conv.in_channels, size, size, dtype=conv.weight.dtype))
    return site


def norm_of(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, eps=1e-3)
    with torch.no_grad():
        norm.weight.uniform_(0.3, 1.5)[::2] *= -1
        norm.bias.normal_()
        norm.running_mean.normal_(std=0.1)
        norm.running_var.uniform_(0.05, 0.2)
    return norm


def gate(conv: nn.Conv2d, norm: nn.BatchNorm2d | None = None, **params) -> FBSConv2d:
    return build_gate(site_of(conv), PlacedGate.of("fbs_pg", "0", **params), conv, norm).eval()


def moved(layer: FBSConv2d) -> FBSConv2d:
    """Set random parameters: winners (channels that FBS computes) then vary, and about half of the outputs are open."""
    with torch.no_grad():
        layer.predictor.weight.normal_(std=1.0)
        layer.beta.normal_()
        layer.inner.threshold.normal_(std=0.05)
        layer.inner.range.alpha.fill_(1.5)
        layer.inner.range.seen.fill_(1.25)
    return layer


@pytest.mark.parametrize("block", [1, 16])
@pytest.mark.parametrize("with_norm", [True, False])
def test_with_all_bits_open_or_closed_the_layer_equals_fbs_around_a_quantised_convolution(block, with_norm):
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 32, 3, stride=2, bias=not with_norm).double()
    layer = moved(
        gate(conv, norm_of(32).double() if with_norm else None, density=0.5, block=block, bits=8, high_bits=4)
    )
    x = torch.rand(3, 4, 9, 9).double() * 2  # some values are clipped
    weight, scale = layer.inner.layer.weight, torch.tensor(1.25).double()
    g = layer.boost(x)
    won = layer.winners(g, 0.5)

    def fbs(inputs: Tensor) -> Tensor:
        z = layer.norm(F.conv2d(inputs, quantise(weight, weight.abs().max(), 8), stride=2))
        return won[..., None, None] * (g[..., None, None] * z + layer.beta.view(-1, 1, 1))

    whole = quantise(x, scale, 8) * 255 / 1.25
    coarse = truncate(whole.round(), 4)[0] * 1.25 / 255
    for threshold, expected in ((-math.inf, fbs(quantise(x, scale, 8))), (math.inf, fbs(coarse))):
        nn.init.constant_(layer.inner.threshold, threshold)
        torch.testing.assert_close(layer(x), expected)
    assert not torch.allclose(fbs(coarse), fbs(quantise(x, scale, 8)))


def test_with_enough_bits_a_trained_layer_is_nearly_unchanged_at_density_1():
    torch.manual_seed(1)
    conv, norm = nn.Conv2d(5, 24, 3, padding=1), norm_of(24)
    expected = nn.Sequential(conv, norm).eval()(x := torch.rand(4, 5, 9, 9))
    layer = gate(conv, norm, density=1.0, bits=12, high_bits=12, weight_bits=32)
    assert (layer(x) - expected).abs().max() < 0.02 * expected.abs().max()


def chain(block: int, mask: str) -> nn.Sequential:
    torch.manual_seed(3)
    modules: list[nn.Module] = []
    for inputs, outputs, density in ((3, 48, 0.5), (48, 40, 0.7), (40, 64, 0.4)):
        conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        params = {"density": density, "block": block, "mask": mask, "high_bits": 3}
        modules += [moved(gate(conv, norm_of(outputs), **params)), nn.ReLU()]
    modules[2:2] = [nn.MaxPool2d(2)]
    return nn.Sequential(*modules).double().eval()


@pytest.mark.parametrize("block", [1, 16])
@pytest.mark.parametrize("mask", ["3d", "m1", "m2-8", "m2-32"])
def test_a_chain_of_layers_that_skips_channels_equals_the_masked_chain_in_any_batch(block, mask):
    net = chain(block, mask)
    images = (torch.rand(6, 3, 10, 10) * torch.rand(6, 3, 1, 1) * 2).double()
    masked, winners = net(images), set()
    sparsity = [layer.report()["sparsity_winners"] for layer in (net[0], net[3], net[5])]
    assert 0.05 < sum(sparsity) / 3 < 0.95  # some outputs are open and some are closed
    for x, expected in zip(images.split(1), masked, strict=True):
        torch.testing.assert_close(net(x)[0], expected)
        present, channels = skip_through(net, x)
        torch.testing.assert_close(torch.zeros_like(expected).index_copy(0, channels, present[0]), expected)
        winners.add(tuple(net[0].winners(net[0].boost(x), 0.5)[0].tolist()))
    assert len(winners) > 1  # winners differ between samples


def test_groups_open_by_their_winning_channels_only():
    torch.manual_seed(3)
    layer = moved(gate(nn.Conv2d(4, 32, 3, bias=False), density=0.5, mask="m2-16"))
    x = torch.rand(1, 4, 9, 9)
    expected = layer(x)
    lost = ~layer.winners(layer.boost(x), 0.5)[0]
    with torch.no_grad():
        layer.inner.layer.weight[lost] *= -0.5
    assert torch.equal(layer(x), expected)


def test_sparsity_is_reported_over_winners_and_over_all_and_the_work_agrees():
    torch.manual_seed(4)
    conv = nn.Conv2d(4, 32, 3)
    params = {"density": 0.5, "bits": 8, "high_bits": 4}
    layer = moved(gate(conv, norm_of(32), **params))
    assert layer.report() == {}
    layer.train()(torch.rand(2, 4, 9, 9))
    layer.eval()
    x = torch.rand(6, 4, 9, 9)
    layer(x)
    report = layer.report()
    assert report["density"] == 0.5 and 0 < report["sparsity_winners"] < 1
    assert report["sparsity"] == pytest.approx(1 - 0.5 * (1 - report["sparsity_winners"]))
    # The share of closed outputs by hand, among 6 samples x 16 winners x 49 pixels.
    inner, won = layer.inner, layer.winners(layer.boost(x), 0.5)
    scale = inner.range(x)[1]
    coarse = truncate((quantise(x, scale, 8) * 255 / scale).round(), 4)[0] * scale / 255
    high = F.conv2d(coarse, quantise(inner.layer.weight, inner.layer.weight.abs().max(), 8))
    is_open = (high > inner.threshold.view(-1, 1, 1)) & won[..., None, None]
    assert report["sparsity_winners"] == pytest.approx(1 - is_open.sum().item() / (6 * 16 * 49), abs=2e-3)

    work = work_of(site_of(conv), PlacedGate.of("fbs_pg", "0", **params), report)
    assert work.calls[0] == Call((4, 8), (("channel", 0.5),))
    assert work.calls[1].share == pytest.approx(1 - report["sparsity"])
    assert [name for name, _ in work.calls[1].remaining] == ["channel", "element"] and work.calls[1].bits == (4, 8)
    assert work.density == 0.5
    layer.reset()
    assert layer.report() == {}


def test_the_work_combines_that_of_fbs_and_pg():
    site = LayerSite("c", "conv2d", (8, 5, 5), (40, 5, 5), 40 * 8 * 9 * 25, 40 * 8 * 9)
    fbs = work_of(site, PlacedGate.of("fbs", "c", density=0.5, block=16))
    pg = work_of(site, PlacedGate.of("pg", "c", bits=4, high_bits=3, mask="m2-16"))
    placed = PlacedGate.of("fbs_pg", "c", density=0.5, block=16, bits=4, high_bits=3, mask="m2-16")
    before = work_of(site, placed)
    won = ("channel-block-16", 0.6)
    assert before.calls == (Call((3, 4), (won,)), Call((1, 4), (won, ("pixel-group-16", 0.0))))
    assert (before.macs, before.params) == (fbs.macs + pg.macs, fbs.params + pg.params)
    after = work_of(site, placed, {"density": 0.8, "sparsity_winners": 0.25, "sparsity": 0.4})
    assert [call.share for call in after.calls] == [0.8, pytest.approx(0.8 * 0.75)]
    assert after.density == 0.8 and after.macs == 8 * 40 + 0.8 * 40 * 25
    whole = work_of(site, PlacedGate.of("fbs_pg", "c", bits=8, high_bits=8))
    assert whole.calls == (Call((8, 8)),)


@pytest.mark.parametrize(
    ("density", "sparsity", "saving"),
    [(1.0, 0.7189, 1.56), (0.9, 0.7148, 1.92), (0.8, 0.7146, 2.43), (0.7, 0.7046, 3.15)],
)
def test_equation_3_gives_the_figures_of_table_1_and_the_exact_saving_is_close(density, sparsity, saving):
    average = average_bits(8, 4, sparsity)
    assert round(approximate_saving(1 / density**2, 8, average), 2) == saving
    # The exact saving is smaller: the first layer of M-CifarNet reads all of its 3 channels, and the number of winners
    # in a layer is rounded up.
    widths = [(3, 64, 30), (64, 64, 30), (64, 128, 15), (128, 128, 15), (128, 128, 15), (128, 192, 8), (192, 192, 8)]
    layers, read = [], 1.0
    for i, (inputs, outputs, size) in enumerate([*widths, widths[-1]]):
        macs = 9 * inputs * outputs * size * size
        site = LayerSite(f"conv{i}", "conv2d", (inputs, size, size), (outputs, size, size), macs, 9 * inputs * outputs)
        placed = PlacedGate.of("fbs_pg", site.name, density=density, bits=8, high_bits=4)
        layers.append(GatedLayer(macs, work_of(site, placed, {"sparsity_winners": sparsity}), read))
        read = layers[-1].work.density
    exact = exact_saving(layers, 8, rest=1920)
    assert 0.97 * saving < exact < saving
    # Equation 3 of Huang et al. 2020 computes the saving from the saving by channels alone. With the exact saving by
    # channels (1.220 at a density of 0.9), it gives the exact saving, apart from the work of the gates themselves.
    bare = exact_saving([GatedLayer(m, replace(w, macs=0.0), r) for m, w, r in layers], 8)
    by_channels = sum(m for m, _, _ in layers) / sum(m * r * w.calls[0].share for m, w, r in layers)
    assert bare == pytest.approx(approximate_saving(by_channels, 8, average))
    assert exact_saving(layers, 8, rest=1e12) == pytest.approx(1.0, abs=1e-3)
    if density == 0.9:
        assert (round(by_channels, 3), round(bare, 2)) == (1.220, 1.90)


def test_losses_and_gradients_of_both_gates_exist():
    torch.manual_seed(5)
    layer = moved(gate(nn.Conv2d(4, 16, 3), norm_of(16), density=0.5, target=0.5)).train()
    layer.double()
    x = torch.rand(3, 4, 9, 9).double()
    layer(x / 2)  # sets the clipping limit below the largest values of x
    y, g = layer(x), layer.boost(x)
    lasso = LASSO * (g * layer.winners(g, 0.5)).sum() / 3
    thresholds = SIGMA * (layer.inner.threshold - 0.5).square().sum()
    torch.testing.assert_close(layer.loss(), lasso + thresholds, rtol=1e-12, atol=0)
    (y.square().sum() + layer.loss()).backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.ne(0).any(), name
    assert {id(p) for p in layer.control_parameters()} == {id(layer.inner.threshold), id(layer.inner.range.alpha)}
    copy.deepcopy(layer)


def test_a_new_module_loads_a_checkpoint():
    torch.manual_seed(6)
    params = {"density": 0.5, "block": 16, "mask": "m1"}
    layer = moved(gate(nn.Conv2d(4, 32, 3), norm_of(32), **params))
    layer.train()(x := torch.rand(3, 4, 9, 9))
    layer.eval()
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    fresh = gate(nn.Conv2d(4, 32, 3), norm_of(32), **params)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(fresh(x), layer(x))


def test_a_tiny_network_learns():
    torch.manual_seed(7)
    patterns, labels = torch.rand(4, 1, 8, 8), torch.arange(64) % 4

    def images() -> Tensor:
        return (patterns[labels] + 0.3 * torch.randn(64, 1, 8, 8)).relu()

    params = {"density": 0.5, "bits": 4, "high_bits": 2, "mask": "m2-8"}
    gates = [gate(nn.Conv2d(i, 16, 3, padding=1), nn.BatchNorm2d(16), **params) for i in (1, 16)]
    net = nn.Sequential(gates[0], nn.ReLU(), nn.MaxPool2d(2), gates[1], nn.ReLU(), nn.Flatten(), nn.Linear(256, 4))
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
    assert (net(images()).argmax(1) == labels).float().mean().item() > 0.9
    for layer in gates:
        assert layer.report()["density"] == 0.5 and 0 < layer.report()["sparsity_winners"] < 1


def test_the_kind_has_the_parameters_of_both():
    kind, conv = Hybrid(), nn.Conv2d(4, 24, 3)
    assert kind.site_type is LayerSite and isinstance(gate(conv), LayerGate)
    assert set(kind.choices(site_of(conv))) == {"density", "block", "bits", "high_bits", "mask", "target"}
    assert fits("fbs_pg", site_of(conv))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"density": 2}, "fbs_pg gate at 0: density: 2 is not in (0, 1]"),
        ({"high_bits": 9}, "fbs_pg gate at 0: high_bits: 9 is not a whole number from 1 to "),
        (
            {"maks": "m1"},
            "fbs_pg gate at 0: unknown parameter 'maks'; nearest: 'mask' "
            "(choices: density, block, bits, high_bits, mask, target, weight_bits)",
        ),
    ],
)
def test_impossible_parameters_are_refused(params, message):
    conv = nn.Conv2d(4, 24, 3)
    placed = PlacedGate.of("fbs_pg", "0", **params)
    for ask in (lambda: gate(conv, **params), lambda: work_of(site_of(conv), placed)):
        with pytest.raises(UserError) as error:
            ask()
        assert str(error.value).startswith(message)
