"""Tests of networks that reconstruct their input: errors, figures, and the training of a switch between two paths."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gatesearch.backbones.codec import Codec
from gatesearch.errors import UserError
from gatesearch.graph.sites import cut_sites
from gatesearch.metrics import Fidelity, waveform_errors
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.training import (
    Features,
    FeatureSplit,
    GateSettings,
    Reconstruction,
    Schedule,
    calibrate,
    fit,
    path_errors,
    saliency,
)

SHAPE = (1, 576, 1)


def sounds(count: int, seed: int) -> FeatureSplit:
    """Return tones, which a light decoder can reconstruct, and noise, which it cannot; all have the same level."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(SHAPE[1]) / 8000
    labels = torch.arange(count) % 2
    hertz = 300 + 100 * torch.rand(count, 1, generator=generator)
    tones = torch.sin(2 * math.pi * hertz * time)
    noise = torch.randn(count, SHAPE[1], generator=generator)
    waves = torch.where(labels[:, None] == 0, tones, noise)
    waves = waves / waves.square().mean(1, keepdim=True).sqrt()
    return FeatureSplit(waves[:, None, :, None], labels, torch.zeros_like(labels))


@pytest.fixture(scope="module")
def features() -> Features:
    train = sounds(128, 0)
    return Features(
        bank=train.features[:, None],
        labels=train.labels,
        train=train,
        validation=sounds(100, 1),
        test=sounds(100, 2),
        positive=torch.tensor([True, True]),
        kind_names=("positive",),
    )


def test_the_error_is_zero_for_equal_signals_and_grows_with_noise():
    x = sounds(6, 0).features
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    errors = torch.stack([waveform_errors(x + size * noise, x) for size in (0.0, 0.1, 0.3, 1.0)])
    assert not errors[0].any() and bool((errors[1:] > errors[:-1]).all())
    assert torch.allclose(waveform_errors(x, x + noise), errors[3], atol=1e-5)
    alone = torch.cat([waveform_errors(a, b) for a, b in zip((x + noise).split(1), x.split(1), strict=True)])
    torch.testing.assert_close(alone, errors[3])


def test_the_error_of_silence_has_a_gradient():
    result = torch.zeros(2, 600, requires_grad=True)
    waveform_errors(result, torch.randn(2, 600)).sum().backward()
    assert bool(torch.isfinite(result.grad).all())


class Halves(nn.Module):
    """A network of two stages that returns its input; tests replace parts of the gate between the stages."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 1, 1, bias=False), nn.Conv2d(1, 1, 1, bias=False)
        with torch.no_grad():
            self.first.weight.fill_(1.0)
            self.second.weight.fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


class Muffle(nn.Module):
    def forward(self, hidden: Tensor) -> Tensor:
        return 0.5 * hidden


def test_figures_equal_those_computed_by_hand():
    split = sounds(4, 0)
    model = GatedModel(
        Halves(),
        GatePlan((PlacedGate.of("dsl", "first", share=0.5),)),
        cut_sites(Halves(), split.features),
        SHAPE,
    ).eval()
    gate = model.gate(0)
    gate.exit = Muffle()  # the light path halves the signal, the heavy path returns it
    logits = iter([torch.tensor([-1.0, 1.0, 2.0, -2.0])] * 2)
    gate.linear.register_forward_hook(lambda *_: next(logits)[:, None])
    gate.theta.fill_(0.0)  # the first and the last sample take the light path
    result = Reconstruction(SHAPE, ("positive",), ("tone", "noise")).assess(model, split)
    silence = waveform_errors(torch.zeros_like(split.features), split.features)
    half = waveform_errors(0.5 * split.features, split.features)
    assert result.shares == (0.5, 0.5) and result.light_share == 0.5
    assert result.passed == {"positive": (1.0, 0.5)} and result.by_class == {"tone": 0.5, "noise": 0.5}
    assert result.error == pytest.approx(float(half[[0, 3]].sum() / 4), rel=1e-5)
    assert result.fidelity == pytest.approx(float(1 - half[[0, 3]].sum() / silence.sum()), rel=1e-5)
    light = float(1 - half.sum() / silence.sum())
    assert result.paths == pytest.approx((light, 1.0), rel=1e-5)
    assert result.random == pytest.approx(0.5 * light + 0.5, rel=1e-5)
    # In half of the windows, the error has a quarter of the signal's energy.
    assert result.snr_db == pytest.approx(10 * math.log10(8), rel=1e-4)
    summary = result.summary() | result.gated_summary()
    assert summary["accuracy"] is None and summary["gate_recall"] is None and summary["light_share"] == 0.5


def test_a_gate_without_an_exit_leaves_silence():
    split = sounds(4, 0)
    plan = GatePlan((PlacedGate.of("gc", "first"),))
    model = GatedModel(Halves(), plan, cut_sites(Halves(), split.features), SHAPE).eval()
    model.gate(0).theta.fill_(math.inf)
    result = Reconstruction(SHAPE, ("positive",)).assess(model, split)
    assert result.fidelity == pytest.approx(0.0, abs=1e-6) and result.light_share == 1.0
    assert result.paths == pytest.approx((0.0, 1.0), abs=1e-6)


@pytest.mark.parametrize(
    ("shape", "output", "message"),
    [
        ((1, 4096, 1), (1, 4095, 1), "a reconstruction has the input's shape"),
        ((1, 49, 10), (1, 49, 10), "reconstruction is of waveforms"),
        ((1, 100, 1), (1, 100, 1), "of 513 samples or more"),
    ],
)
def test_a_network_that_cannot_reconstruct_is_refused(shape, output, message):
    with pytest.raises(UserError, match=message):
        Reconstruction(shape, ("positive",)).check(output)


def test_the_constraint_bounds_the_drop_of_fidelity():
    result = Fidelity(0.5, 1.0, 0.0, (0.5, 0.5), (0.4, 0.6), 0.45, {})
    [(name, broken)] = Reconstruction(SHAPE, ("positive",)).limits.items()
    assert name == "max_fidelity_drop"
    assert broken(result, 0.6, 0.05) == pytest.approx(0.05) and broken(result, 0.6, 0.2) < 0


def test_scores_are_those_of_fidelity():
    split, goal = sounds(6, 0), Reconstruction(SHAPE, ("positive",))
    reached, possible = goal.scores(0.5 * split.features, split.features, split.labels)
    half = waveform_errors(0.5 * split.features, split.features)
    silence = waveform_errors(torch.zeros_like(split.features), split.features)
    assert float(reached.sum() / possible.sum()) == pytest.approx(float(1 - half.sum() / silence.sum()))


SHARE = 0.5


@pytest.fixture(scope="module")
def trained(features: Features) -> GatedModel:
    torch.manual_seed(0)
    goal = Reconstruction(SHAPE, features.kind_names)
    backbone = Codec(SHAPE, width=8, strides=(4, 4), dimension=16, levels=6, codes=32)
    sites = cut_sites(backbone, features.train.features[:1])
    whole = GatedModel(backbone, GatePlan(), sites, SHAPE)
    schedule = Schedule(epochs=9, batch_size=8, learning_rate=5e-3, averaging=0.9)
    fit(whole, features, schedule, GateSettings(), seed=0, goal=goal)
    split = features.train
    importance = saliency(whole.stages[0], sites, split.features, split.labels, errors=goal.errors)
    plan = GatePlan((PlacedGate.of("dsl", "quantiser", share=SHARE, width=0.25, keep=1.0),), ("host", "host"))
    model = GatedModel(whole.stages[0], plan, sites, SHAPE, importance)
    gates = GateSettings(head_learning_rate_scale=2.0)
    fit(model, features, schedule, gates, seed=0, goal=goal)
    calibrate(model, features.validation, features.positive)
    return model


def test_the_light_share_is_within_two_points_of_its_target_on_validation(trained, features):
    result = Reconstruction(SHAPE, features.kind_names).assess(trained, features.validation)
    assert abs(result.light_share - SHARE) <= 0.02


def test_the_routed_error_lies_strictly_between_all_heavy_and_random_routing(trained, features):
    for split in (features.validation, features.test):
        result = Reconstruction(SHAPE, features.kind_names).assess(trained, split)
        light, heavy = result.paths
        assert light < result.random < result.fidelity < heavy
    errors = path_errors(trained, features.test.features)
    assert result.error > float(errors[:, 1].mean())


def test_an_inverted_switch_is_worse_than_random_routing(trained, features):
    """The switch is inverted, which shows that the comparison with random routing can fail."""
    gate = trained.gate(0)
    weight = gate.linear.weight.detach().clone()
    with torch.no_grad():
        gate.linear.weight.neg_()
    try:
        calibrate(trained, features.validation, features.positive)
        result = Reconstruction(SHAPE, features.kind_names).assess(trained, features.test)
        assert result.fidelity < result.random
    finally:
        with torch.no_grad():
            gate.linear.weight.copy_(weight)
        calibrate(trained, features.validation, features.positive)
