"""Conformance checks for the authors of plug-ins, after the manner of ``optuna.testing``.

Call them from your own tests. Each raises an ``AssertionError`` that says which promise is broken: those of
:class:`gatesearch.gates.CutGate` and :class:`gatesearch.gates.CutKind`, or what any backbone has to be.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gatesearch.errors import UserError
from gatesearch.gated import GatedModel
from gatesearch.gates import CutGate, CutKind
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.sites import INPUT, CutSite, cut_sites

__all__ = ["check_backbone", "check_cut_gate"]

SAMPLES = 32


def check_cut_gate(kind: CutKind, site: CutSite, placed: PlacedGate) -> None:
    """Check one gate kind at one cut site; the global random state is left as it was.

    Args:
        kind: an instance of the technique.
        site: where to place it.
        placed: the gate, with parameters of the kind.

    Raises:
        AssertionError: a promise is broken; the message says which.

    Source: the eight questions of :mod:`gatesearch.gates.base`; section 0.6 for what has to be exact.

    >>> from gatesearch.gates.gc import GC
    >>> site = CutSite("blocks.0", (8, 5, 4), 100, 100, 10, 10, "blocks_0")
    >>> check_cut_gate(GC(), site, PlacedGate.of("gc", "blocks.0", keep=0.5))
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _check_kind(kind, site, placed)
        gate = kind.wrap(site, placed)
        assert isinstance(gate, CutGate), f"wrap() returned a {type(gate).__name__} that is no CutGate"
        assert isinstance(gate, nn.Module), f"wrap() returned a {type(gate).__name__} that is no nn.Module"
        module = cast(nn.Module, gate)
        assert "theta" in module.state_dict(), "theta must be a buffer, so that a checkpoint holds it"
        assert float(gate.theta) == -math.inf, "theta must start at -inf: a gate not calibrated stops nothing"
        gate.initialise(torch.rand(site.channels))
        hidden, positive = _activations(site)
        _check_training(gate, module, hidden, positive)
        module.eval()
        _check_forward(gate, module, hidden)
        _check_lowering(kind, site, placed, gate, hidden)
        _check_calibration(gate, placed)
        again = cast(nn.Module, kind.wrap(site, placed))
        again.load_state_dict(module.state_dict())
        same = torch.equal(cast(CutGate, again.eval())(hidden).logit, gate(hidden).logit)
        assert same, "state_dict() does not hold all of the gate's state"


def check_backbone(factory: Callable[[], nn.Module], example: Tensor, num_classes: int) -> None:
    """Check that a backbone can be cut at every site that is found in it.

    Args:
        factory: builds the model anew at each call.
        example: inputs [N, *shape], N at least 2.
        num_classes: size of the model's output.

    Raises:
        AssertionError: a promise is broken; the message says which.
        gatesearch.errors.UserError: the model cannot be traced, or takes or returns more than one tensor.

    Source: section 0.6, "gate forced open and mask all ones = backbone bit for bit".

    >>> check_backbone(lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(2, 4), 3)
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, twin = factory(), factory()
        own = {id(p) for p in model.parameters()}
        assert not any(id(p) in own for p in twin.parameters()), "two models of the factory share parameters"
        before, training = copy.deepcopy(model.state_dict()), model.training
        sites = cut_sites(model, example)
        unchanged = all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        assert unchanged and model.training is training, "tracing changed the model"
        assert any(site.name != INPUT for site in sites), "the model offers no cut site but its input"
        model.eval()
        with torch.no_grad():
            logits = model(example)
            assert tuple(logits.shape) == (len(example), num_classes), (
                f"logits have shape {tuple(logits.shape)}, not {(len(example), num_classes)}"
            )
            alone = torch.cat([model(sample) for sample in example.split(1)])
            assert torch.allclose(alone, logits, atol=1e-4), "a sample's logits depend on the rest of its batch"
            for site in sites:
                plan = GatePlan((PlacedGate.of("gc", site.name, keep=1.0),))
                gated = GatedModel(model, plan, sites, num_classes).eval()
                assert torch.equal(gated(example).logits, logits), f"cut at {site.name!r} the logits change"
                assert torch.equal(gated.cascade(example).logits, logits), f"the cascade at {site.name!r} changes them"


def _activations(site: CutSite) -> tuple[Tensor, Tensor]:
    positive = torch.arange(SAMPLES) % 2 == 0
    shift = positive.float().view(-1, *[1] * len(site.shape))
    return torch.relu(torch.randn(SAMPLES, *site.shape) + shift), positive


def _check_kind(kind: CutKind, site: CutSite, placed: PlacedGate) -> None:
    assert isinstance(kind, CutKind), f"{type(kind).__name__} lacks a part of CutKind"
    assert kind.name == placed.kind, f"the kind is called {kind.name!r}, the placed gate {placed.kind!r}"
    assert kind.may_go(site), f"may_go() refuses site {site.name!r}"
    space = kind.space(site)
    for name, choices in space.items():
        assert len(choices), f"space(): {name} has no choice"
        assert json.loads(json.dumps(list(choices))) == list(choices), f"space(): {name} is not JSON"
    for name, _ in placed.params:
        assert name in space, f"space() does not name the parameter {name!r}"
    for name, choices in space.items():
        for choice in choices:
            kind.wrap(site, PlacedGate.of(kind.name, site.name, **{**dict(placed.params), name: choice}))
    wrong = PlacedGate.of(kind.name, site.name, **{**dict(placed.params), "no_such_parameter": 1})
    try:
        kind.wrap(site, wrong)
    except UserError as error:
        assert "\n" not in str(error), "an error for the user must be one line"
    else:
        raise AssertionError("wrap() accepts a parameter that does not exist")


def _check_training(gate: CutGate, module: nn.Module, hidden: Tensor, positive: Tensor) -> None:
    own = {id(p) for p in module.parameters()}
    steering = list(gate.steering())
    assert all(id(p) in own for p in steering), "steering() yields what is no parameter of the gate"
    assert len({id(p) for p in steering}) == len(steering), "steering() yields a parameter twice"
    module.train()
    optimizer = torch.optim.AdamW([*module.parameters()], lr=0.01)
    for labels in (positive, torch.zeros_like(positive), torch.ones_like(positive), positive):
        leaf = hidden.clone().requires_grad_()
        output = gate(leaf)
        plain, even = (gate.loss(output, labels, 1.0, 0.1, w) for w in (None, torch.ones(SAMPLES)))
        assert torch.allclose(plain, even), "loss() without weights is not that with even weights"
        loss = gate.loss(output, labels, 1.0, 0.1, torch.rand(SAMPLES))
        assert loss.shape == () and bool(torch.isfinite(loss)), "loss() must be a finite scalar for any labels"
        optimizer.zero_grad()
        (loss + output.passed.square().mean()).backward()
        for name, parameter in [("the activations", leaf), *module.named_parameters()]:
            finite = parameter.grad is None or bool(torch.isfinite(parameter.grad).all())
            assert finite, f"the gradient of {name} is not finite"
        assert leaf.grad is not None, "no gradient flows back to the layers before the gate"
        optimizer.step()


@torch.no_grad()
def _check_forward(gate: CutGate, module: nn.Module, hidden: Tensor) -> None:
    untouched = hidden.clone()
    output = gate(hidden)
    assert torch.equal(hidden, untouched), "the gate changes its input in place"
    assert output.passed.shape == hidden.shape, f"passed is {tuple(output.passed.shape)}, not {tuple(hidden.shape)}"
    assert output.logit.shape == (len(hidden),), f"logit is {tuple(output.logit.shape)}, not {(len(hidden),)}"
    alone = torch.cat([gate(sample).logit for sample in hidden.split(1)])
    assert torch.allclose(alone, output.logit, atol=1e-4), "a sample's logit depends on the rest of its batch"
    report = gate.report(output, hidden)
    for name in ("element", "channel", "ungated_element"):
        assert 0.0 <= report.get(name, -1.0) <= 1.0, f"report() must give {name!r} as a share"


@torch.no_grad()
def _check_lowering(kind: CutKind, site: CutSite, placed: PlacedGate, gate: CutGate, hidden: Tensor) -> None:
    work, (channels, head) = kind.work(site, placed), gate.lower()
    kept = list(range(site.channels)) if channels is None else list(channels)
    assert kept and kept == sorted(set(kept)), "lower(): channels must rise, without repeats, and not be empty"
    assert kept[0] >= 0 and kept[-1] < site.channels, "lower(): a channel does not exist"
    output, (passed, logit) = gate(hidden), head.eval()(hidden[:, kept])
    assert logit.shape == (len(hidden), 1), f"the lowered head's logit is {tuple(logit.shape)}, not [N, 1]"
    assert torch.allclose(passed, output.passed[:, kept], atol=1e-5), "the lowered head passes something else"
    assert torch.allclose(logit[:, 0], output.logit, atol=1e-4), "the lowered head's logit is another"
    rest = [c for c in range(site.channels) if c not in kept]
    assert not output.passed[:, rest].any(), "a channel that lower() drops is not zero"

    assert len(kept) <= work.kept_channels <= site.channels, "work(): kept_channels is less than lower() keeps"
    assert 0 < work.elements <= site.elements, "work(): elements is out of range"
    assert 0.0 < work.density <= 1.0, "work(): density is not in (0, 1]"
    if len(kept) == work.kept_channels:
        params = sum(p.numel() for p in head.parameters())
        assert work.params == params, f"work(): params is {work.params}, the lowered head has {params}"
        with FlopCounterMode(display=False) as counter:
            head(hidden[:1, kept])
        macs = counter.get_total_flops() // 2
        assert work.macs >= macs, f"work(): macs is {work.macs}, the lowered head takes {macs}"


def _check_calibration(gate: CutGate, placed: PlacedGate) -> None:
    logit, positive = torch.randn(200), torch.rand(200) < 0.3
    gate.calibrate(logit, positive)
    theta = float(gate.theta)
    assert not math.isnan(theta), "calibrate() sets theta to NaN"
    order = torch.randperm(200)
    gate.calibrate(logit[order], positive[order])
    assert float(gate.theta) == theta, "calibrate() depends on the order of the samples"
    target = dict(placed.params).get("recall")
    if isinstance(target, float):
        reached = float((logit > gate.theta)[positive].float().mean())
        assert reached >= target - 1e-6, f"calibrate() reaches a recall of {reached:.3f}, not {target}"
    gate.calibrate(logit, torch.zeros(200, dtype=torch.bool))
    assert not bool(torch.isnan(gate.theta)), "calibrate() sets theta to NaN where there are no positives"
