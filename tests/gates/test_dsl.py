"""Dynamic Switch Layers (DSL): the switch, its training labels, and the light path."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gatesearch.backbones.codec import Codec
from gatesearch.errors import UserError
from gatesearch.gates import GateContext, GateOutput, build_gate, fits, kind_of, work_of
from gatesearch.gates.dsl import DSLGate
from gatesearch.gates.light_decoder import light_layers
from gatesearch.graph.sites import CutSite, cut_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from tests.testing.gate_suites import check_gate

OUTPUT = (1, 1024, 1)


def site(shape: tuple[int, ...], output: tuple[int, ...] = OUTPUT) -> CutSite:
    return CutSite("here", shape, 1, 1, 1, 1, "here", output=output)


@pytest.mark.parametrize("shape", [(16, 64, 1), (6, 128, 1), (1, 1024, 1)])
@pytest.mark.parametrize("params", [{}, {"share": 0.8, "width": 0.125, "keep": 0.5}, {"width": 1.0}])
def test_conforms_at_every_rate_and_with_every_sort_of_parameter(shape, params):
    check_gate(kind_of("dsl"), site(shape), **params)


@pytest.mark.parametrize(
    "place",
    [
        site((16,)),
        site((16, 64)),
        site((16, 8, 8)),
        site((16, 100, 1)),
        site((16, 64, 1), (12,)),
        site((16, 64, 1), ()),
    ],
)
def test_dsl_fits_only_sites_from_which_upsampling_reaches_the_output(place):
    assert not fits("dsl", place)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"share": 1.0}, "dsl gate at here: share: 1.0 is not in (0, 1)"),
        ({"width": 0.0}, "dsl gate at here: width: 0.0 is not in (0, 1]"),
        ({"keep": True}, "dsl gate at here: keep: True is not in (0, 1]"),
        ({"rho": 0.5}, "dsl gate at here: unknown parameter 'rho'"),
    ],
)
def test_wrong_parameters_give_an_error_of_one_line(params, message):
    with pytest.raises(UserError) as caught:
        build_gate(site((16, 64, 1)), PlacedGate.of("dsl", "here", **params))
    assert str(caught.value).startswith(message)


def context(errors, final, weight=None, **strengths) -> GateContext:
    arguments = {"alpha": 0.0, "beta": 0.0, "distillation": 0.0} | strengths
    return GateContext(torch.ones(len(final), dtype=torch.bool), weight=weight, final=final, errors=errors, **arguments)


def test_labels_are_the_share_of_samples_whose_light_error_is_least_above_the_heavy_one():
    gate = DSLGate((4, 8, 1), (1, 8, 1), share=0.75, width=1.0, keep=1.0)
    light, heavy = torch.tensor([5.0, 1.0, 2.0, 3.0]), torch.tensor([1.0, 1.0, 1.0, 1.0])
    exit, final = light.view(4, 1, 1, 1).expand(4, 1, 8, 1), heavy.view(4, 1, 1, 1).expand(4, 1, 8, 1)
    logit = torch.tensor([0.3, -0.2, 0.1, 2.0], requires_grad=True)
    output = GateOutput(torch.zeros(4, 4, 8, 1), logit, exit)
    loss = gate.loss(output, context(lambda x: x.mean((1, 2, 3)), final, alpha=2.0, distillation=0.5))
    needed = torch.tensor([1.0, 0.0, 0.0, 0.0])  # only the first sample needs the heavy path
    expected = light.mean() + 2.0 * F.binary_cross_entropy_with_logits(logit, needed)
    expected = expected + 0.5 * (light - heavy).square().mean()
    torch.testing.assert_close(loss, expected)
    assert float(gate.q) == 2.0  # the 0.75 quantile of the gaps 4, 0, 1, 2


def test_the_quantile_is_a_moving_average_and_in_the_checkpoint():
    gate = DSLGate((4, 8, 1), (1, 8, 1), share=0.5, width=1.0, keep=1.0)
    output = GateOutput(torch.zeros(2, 4, 8, 1), torch.zeros(2), torch.zeros(2, 1, 8, 1))
    for gap, expected in ((1.0, 1.0), (2.0, 1.1)):
        errors = {0: torch.full((2,), gap), 1: torch.zeros(2)}
        calls = iter((0, 1))
        gate.loss(output, context(lambda _, errors=errors, calls=calls: errors[next(calls)], torch.zeros(2, 1, 8, 1)))
        assert float(gate.state_dict()["q"]) == pytest.approx(expected)


def test_no_gradient_reaches_the_heavy_path_through_distillation_or_labels():
    gate = DSLGate((4, 8, 1), (1, 8, 1), share=0.5, width=1.0, keep=1.0)
    final = torch.randn(4, 1, 8, 1, requires_grad=True)
    hidden = torch.randn(4, 4, 8, 1)
    output = gate(hidden)
    output = output._replace(exit=gate.exit(output.passed))
    gate.loss(output, context(lambda x: x.square().mean((1, 2, 3)), final, alpha=1.0, distillation=1.0)).backward()
    assert final.grad is None
    assert all(p.grad is not None for p in gate.exit.parameters())


def test_a_sample_of_weight_zero_does_not_change_the_quantile():
    gaps = torch.tensor([9.0, 1.0, 2.0])
    gates = [DSLGate((4, 8, 1), (1, 8, 1), share=0.5, width=1.0, keep=1.0) for _ in range(2)]
    final, output = torch.zeros(3, 1, 8, 1), GateOutput(torch.zeros(3, 4, 8, 1), torch.zeros(3), torch.ones(3, 1, 8, 1))
    for gate, weight in zip(gates, (torch.tensor([0.0, 1.0, 1.0]), torch.tensor([100.0, 1.0, 1.0])), strict=True):
        gate.loss(output, context(lambda x: gaps * x.mean((1, 2, 3)), final, weight))
    assert float(gates[0].q) == 1.0 and float(gates[1].q) == 9.0


@pytest.mark.parametrize("share", [0.5, 0.7, 0.8])
def test_the_light_share_on_validation_is_within_two_points_of_its_target(share):
    gate = DSLGate((4, 8, 1), (1, 8, 1), share, width=1.0, keep=1.0)
    assert float(gate.theta) == -math.inf
    logit = torch.randn(300, generator=torch.Generator().manual_seed(0))
    gate.calibrate(logit, torch.ones(300, dtype=torch.bool))
    assert abs(float((logit <= gate.theta).float().mean()) - share) <= 0.02


def test_samples_that_leave_run_the_light_path_and_no_others_do():
    torch.manual_seed(0)
    x = torch.randn(8, *OUTPUT)
    backbone = Codec(OUTPUT, width=4).eval()
    sites = cut_sites(backbone, x)
    gate = PlacedGate.of("dsl", "quantiser", share=0.5, keep=0.5)
    model = GatedModel(backbone, GatePlan((gate,)), sites, OUTPUT).eval()
    logit = model(x).gates[0].logit
    model.gate(0).calibrate(logit, torch.ones(8, dtype=torch.bool))
    sizes: dict[str, int] = {}
    parts: dict[str, nn.Module] = {"light": model.gate(0).exit, "heavy": model.stages[1]}
    for name, part in parts.items():
        part.register_forward_hook(lambda _, inputs, __, name=name: sizes.__setitem__(name, len(inputs[0])))
    cascade = model.cascade(x)
    assert sizes == {"light": 4, "heavy": 4}
    leaves = cascade.exit == 0
    assert torch.equal(leaves, logit <= model.gate(0).theta)
    soft = model(x)
    torch.testing.assert_close(cascade.logits[leaves], soft.gates[0].exit[leaves])
    torch.testing.assert_close(cascade.logits[~leaves], soft.logits[~leaves])
    model.gate(0).theta.fill_(-math.inf)
    sizes.clear()
    assert bool((model.cascade(x).exit == 1).all()) and sizes == {"heavy": 8}


def test_the_light_path_and_the_switch_have_work_of_their_own():
    place, gate = site((16, 64, 1), (1, 4096, 1)), PlacedGate.of("dsl", "here", share=0.7, width=0.5, keep=0.5)
    work = work_of(place, gate)
    # The light path has three convolutions: 8 -> 8 channels, kernel 3, over 64 frames; 8 -> 4 channels, kernel 8,
    # upsampling to 512 frames; 4 -> 1 channel, kernel 16, upsampling to 4096 frames.
    assert work.exit_macs == 64 * 8 * 8 * 3 + 512 * 8 * 4 + 512 * 4 * 16
    assert work.exit_params == (8 * 8 * 3 + 8) + (8 * 4 * 8 + 4) + (4 * 16 + 1)
    assert work.macs == 16 + 8 * 64 and work.kept_channels == 8 and work.leaving == 0.7
    assert sum(p.numel() for p in build_gate(place, gate).lower().exit.parameters()) == work.exit_params


def test_light_layers_of_a_site_at_the_full_rate_do_not_upsample():
    assert [layer.up for layer in light_layers((8, 1024, 1), OUTPUT, 0.5, 8)] == [1, 1]
