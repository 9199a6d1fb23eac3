"""Conformance checks for the authors of plug-ins, after the manner of ``optuna.testing``.

Call them from your own tests. Each raises an ``AssertionError`` that says which promise is broken: those of
:class:`gatesearch.gates.CutGate` and :class:`gatesearch.gates.CutKind`, those of :class:`gatesearch.gates.LayerGate`
and :class:`gatesearch.gates.LayerKind`, or what any backbone has to be.
"""

from __future__ import annotations

import copy
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gatesearch.errors import UserError
from gatesearch.gates import (
    CutGate,
    CutKind,
    ElasticKind,
    GateContext,
    GateKind,
    GateOutput,
    LayerGate,
    LayerKind,
    LayerWork,
)
from gatesearch.graph.channel_axes import select
from gatesearch.graph.sites import INPUT, CutSite, LayerSite, Site, cut_sites, trace
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate

__all__ = ["check_backbone", "check_cut_gate", "check_layer_gate"]

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
        assert isinstance(kind, CutKind), f"{type(kind).__name__} lacks a part of CutKind"
        _check_kind(kind, site, placed, "wrap", lambda changed: kind.wrap(site, changed))
        gate = kind.wrap(site, placed)
        assert isinstance(gate, CutGate), f"wrap() returned a {type(gate).__name__} that is no CutGate"
        assert isinstance(gate, nn.Module), f"wrap() returned a {type(gate).__name__} that is no nn.Module"
        module = cast(nn.Module, gate)
        assert "theta" in module.state_dict(), "theta must be a buffer, so that a checkpoint holds it"
        assert float(gate.theta) == -math.inf, "theta must start at -inf: a gate not calibrated stops nothing"
        gate.initialise(torch.rand(site.channels))
        hidden, positive = _activations(site)
        _check_training(gate, module, site, hidden, positive)
        module.eval()
        _check_forward(gate, module, hidden)
        _check_lowering(kind, site, placed, gate, hidden)
        _check_exit(kind, site, placed, gate, hidden)
        _check_calibration(gate, placed)
        if isinstance(kind, ElasticKind):
            _check_elastic(kind, site, placed, module, hidden)
        again = cast(nn.Module, kind.wrap(site, placed))
        again.load_state_dict(module.state_dict())
        same = torch.equal(cast(CutGate, again.eval())(hidden).logit, gate(hidden).logit)
        assert same, "state_dict() does not hold all of the gate's state"


def check_layer_gate(
    kind: LayerKind, site: LayerSite, layer: nn.Module, placed: PlacedGate, norm: nn.BatchNorm2d | None = None
) -> None:
    """Check one gate kind in the place of one layer; the global random state is left as it was.

    Args:
        kind: an instance of the technique.
        site: where to place it.
        layer: maps [N, *site.shape_in] to [N, *site.shape]; an LSTM is batch first.
        placed: the gate, with parameters of the kind.
        norm: a batch normalisation behind the layer, in the state that training left it in; None for none.

    Raises:
        AssertionError: a promise is broken; the message says which.

    Source: :class:`gatesearch.gates.LayerGate`; evaluation that does not hang on the batch is also what the released
    code of precision gating (Zhang et al. 2020) lacks.

    >>> from gatesearch.gates.fbs import FBS
    >>> site = LayerSite("0", "conv2d", (3, 8, 8), (4, 6, 6), 3888, 112)
    >>> check_layer_gate(FBS(), site, nn.Conv2d(3, 4, 3), PlacedGate.of("fbs", "0", density=0.5))
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        assert isinstance(kind, LayerKind), f"{type(kind).__name__} lacks a part of LayerKind"
        _check_kind(kind, site, placed, "replace", lambda changed: kind.replace(site, changed, layer, norm))
        assert not kind.may_go(CutSite("here", site.shape, 1, 1, 1, 1, "here")), "may_go() accepts a cut site"
        before = [copy.deepcopy(part.state_dict()) for part in (layer, norm) if part is not None]
        gate = kind.replace(site, placed, layer, norm)
        assert isinstance(gate, LayerGate), f"replace() returned a {type(gate).__name__} that is no LayerGate"
        assert isinstance(gate, nn.Module), f"replace() returned a {type(gate).__name__} that is no nn.Module"
        module = cast(nn.Module, gate)
        _check_tracing(gate, module)
        inputs = torch.randn(SAMPLES, *site.shape_in) + 0.5
        _check_layer_training(gate, module, site, inputs)
        for part, state in zip([part for part in (layer, norm) if part is not None], before, strict=True):
            same = all(torch.equal(state[name], value) for name, value in part.state_dict().items())
            assert same, "training the gate changes the layer that it was made from: copy what you keep"
        _check_layer_evaluation(gate, module, inputs)
        _check_report(gate, module, inputs)
        _check_work_left(kind, site, placed, module, gate.report())
        _check_layer_state(module, cast(nn.Module, kind.replace(site, placed, layer, norm)), inputs)


def check_backbone(factory: Callable[[], nn.Module], example: Tensor, outputs: int | Sequence[int]) -> None:
    """Check that a backbone can be cut at every site that is found in it.

    Args:
        factory: builds the model anew at each call.
        example: inputs [N, *shape], N at least 2.
        outputs: shape of the model's output for one sample; a number stands for so many classes.

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
            wanted = (len(example), *((outputs,) if isinstance(outputs, int) else outputs))
            assert tuple(logits.shape) == wanted, f"logits have shape {tuple(logits.shape)}, not {wanted}"
            alone = torch.cat([model(sample) for sample in example.split(1)])
            assert torch.allclose(alone, logits, atol=1e-4), "a sample's logits depend on the rest of its batch"
            for site in sites:
                plan = GatePlan((PlacedGate.of("gc", site.name, keep=1.0),))
                gated = GatedModel(model, plan, sites, outputs).eval()
                assert torch.equal(gated(example).logits, logits), f"cut at {site.name!r} the logits change"
                assert torch.equal(gated.cascade(example).logits, logits), f"the cascade at {site.name!r} changes them"


def _check_elastic(kind: ElasticKind, site: CutSite, placed: PlacedGate, module: nn.Module, hidden: Tensor) -> None:
    """A module that was turned is the module that would have been built."""
    elastic, space, params = kind.elastic(placed), kind.space(site), dict(placed.params)
    assert set(kind.calibrated) <= set(elastic), "what calibration alone reads has to be elastic"
    for name in elastic:
        for value in space[name]:
            other = PlacedGate.of(placed.kind, placed.site, **{**params, name: value})
            kind.turn(cast(CutGate, module), other)
            built = cast(nn.Module, kind.wrap(site, other))
            built.load_state_dict(module.state_dict())
            one, two = cast(CutGate, module)(hidden), cast(CutGate, built.eval())(hidden)
            same = torch.equal(one.passed, two.passed) and torch.equal(one.logit, two.logit)
            assert same, f"turn() to {name}={value!r} does not make the gate that wrap() builds"
            if name in kind.calibrated:
                kind.turn(cast(CutGate, module), placed)
                assert torch.equal(cast(CutGate, module)(hidden).logit, one.logit), f"{name} is read in use"
    kind.turn(cast(CutGate, module), placed)


def _activations(site: CutSite) -> tuple[Tensor, Tensor]:
    positive = torch.arange(SAMPLES) % 2 == 0
    shift = positive.float().view(-1, *[1] * len(site.shape))
    return torch.relu(torch.randn(SAMPLES, *site.shape) + shift), positive


def _check_kind(
    kind: GateKind, site: Site, placed: PlacedGate, verb: str, build: Callable[[PlacedGate], object]
) -> None:
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
            build(PlacedGate.of(kind.name, site.name, **{**dict(placed.params), name: choice}))
    wrong = PlacedGate.of(kind.name, site.name, **{**dict(placed.params), "no_such_parameter": 1})
    try:
        build(wrong)
    except UserError as error:
        assert "\n" not in str(error), "an error for the user must be one line"
    else:
        raise AssertionError(f"{verb}() accepts a parameter that does not exist")


def _check_steering(gate: CutGate | LayerGate, module: nn.Module) -> None:
    own = {id(p) for p in module.parameters()}
    steering = list(gate.steering())
    assert all(id(p) in own for p in steering), "steering() yields what is no parameter of the gate"
    assert len({id(p) for p in steering}) == len(steering), "steering() yields a parameter twice"


def _check_training(gate: CutGate, module: nn.Module, site: CutSite, hidden: Tensor, positive: Tensor) -> None:
    _check_steering(gate, module)
    module.train()
    optimizer = torch.optim.AdamW([*module.parameters()], lr=0.01)
    wanted = torch.randn(SAMPLES, *site.output)
    final = wanted + 0.1 * torch.randn_like(wanted)

    def context(labels: Tensor, weight: Tensor | None) -> GateContext:
        return GateContext(labels, 1.0, 0.1, 0.1, weight, final, _distance(wanted))

    for labels in (positive, torch.zeros_like(positive), torch.ones_like(positive), positive):
        leaf = hidden.clone().requires_grad_()
        output = _with_exit(gate, gate(leaf))
        plain, even = (copy.deepcopy(gate).loss(output, context(labels, w)) for w in (None, torch.ones(SAMPLES)))
        assert torch.allclose(plain, even), "loss() without weights is not that with even weights"
        loss = gate.loss(output, context(labels, torch.rand(SAMPLES)))
        assert loss.shape == () and bool(torch.isfinite(loss)), "loss() must be a finite scalar for any labels"
        optimizer.zero_grad()
        (loss + output.passed.square().mean()).backward()
        _check_gradients(module, leaf)
        optimizer.step()


def _distance(wanted: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda given: (given - wanted).square().flatten(1).mean(1) if wanted.ndim > 1 else given.new_zeros(SAMPLES)


def _with_exit(gate: CutGate, output: GateOutput) -> GateOutput:
    assert output.exit is None, "the gate calls its own exit: those that go on would run it, too"
    return output if gate.exit is None else output._replace(exit=gate.exit(output.passed))


def _check_gradients(module: nn.Module, leaf: Tensor) -> None:
    for name, parameter in [("the activations", leaf), *module.named_parameters()]:
        finite = parameter.grad is None or bool(torch.isfinite(parameter.grad).all())
        assert finite, f"the gradient of {name} is not finite"
    assert leaf.grad is not None, "no gradient flows back to the layers before the gate"


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
    work, (channels, head, _) = kind.work(site, placed), gate.lower()
    axis = site.channel_axis + 1
    kept = _kept(site, channels)
    assert kept and kept == sorted(set(kept)), "lower(): channels must rise, without repeats, and not be empty"
    assert kept[0] >= 0 and kept[-1] < site.channels, "lower(): a channel does not exist"
    output, (passed, logit) = gate(hidden), head.eval()(select(hidden, kept, axis))
    assert logit.shape == (len(hidden), 1), f"the lowered head's logit is {tuple(logit.shape)}, not [N, 1]"
    assert torch.allclose(passed, select(output.passed, kept, axis), atol=1e-5), (
        "the lowered head passes something else"
    )
    assert torch.allclose(logit[:, 0], output.logit, atol=1e-4), "the lowered head's logit is another"
    rest = [c for c in range(site.channels) if c not in kept]
    assert not select(output.passed, rest, axis).any(), "a channel that lower() drops is not zero"

    assert len(kept) <= work.kept_channels <= site.channels, "work(): kept_channels is less than lower() keeps"
    assert 0 < work.elements <= site.elements, "work(): elements is out of range"
    assert 0.0 < work.density <= 1.0, "work(): density is not in (0, 1]"
    if len(kept) == work.kept_channels:
        params = sum(p.numel() for p in head.parameters())
        assert work.params == params, f"work(): params is {work.params}, the lowered head has {params}"
        with FlopCounterMode(display=False) as counter:
            head(select(hidden[:1], kept, axis))
        macs = counter.get_total_flops() // 2
        assert work.macs >= macs, f"work(): macs is {work.macs}, the lowered head takes {macs}"


@torch.no_grad()
def _check_exit(kind: CutKind, site: CutSite, placed: PlacedGate, gate: CutGate, hidden: Tensor) -> None:
    work, (channels, _, light) = kind.work(site, placed), gate.lower()
    if gate.exit is None:
        assert light is None, "lower() gives an exit, and the gate has none"
        assert work.exit_macs == work.exit_params == 0, "work() prices an exit, and the gate has none"
        return
    passed = gate(hidden).passed
    given = gate.exit(passed)
    assert given.shape == (len(hidden), *site.output), f"the exit gives {tuple(given.shape[1:])}, not {site.output}"
    alone = torch.cat([gate.exit(sample) for sample in passed.split(1)])
    assert torch.allclose(alone, given, atol=1e-4), "what the exit gives a sample depends on the rest of its batch"
    assert light is not None, "lower() leaves the exit out"
    axis = site.channel_axis + 1
    kept = select(passed, _kept(site, channels), axis)
    assert torch.allclose(light.eval()(kept), given, atol=1e-4), "the lowered exit gives something else"
    params = sum(p.numel() for p in light.parameters())
    if kept.shape[axis] == work.kept_channels:
        assert work.exit_params == params, f"work(): exit_params is {work.exit_params}, the lowered exit has {params}"
        with FlopCounterMode(display=False) as counter:
            light(kept[:1])
        macs = counter.get_total_flops() // 2
        assert work.exit_macs == macs, f"work(): exit_macs is {work.exit_macs}, the lowered exit takes {macs}"


def _kept(site: CutSite, channels: Sequence[int] | None) -> list[int]:
    return list(range(site.channels)) if channels is None else list(channels)


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
    share = dict(placed.params).get("share")
    if isinstance(share, float):
        left = float((logit <= gate.theta).float().mean())
        assert abs(left - share) <= 0.02, f"calibrate() lets {left:.3f} leave, not {share}"
    gate.calibrate(logit, torch.zeros(200, dtype=torch.bool))
    assert not bool(torch.isnan(gate.theta)), "calibrate() sets theta to NaN where there are no positives"


def _check_tracing(gate: LayerGate, module: nn.Module) -> None:
    assert gate.traced_whole is True, "torch.fx looks into the gate: traced_whole must be True"
    calls = [node.target for node in trace(nn.Sequential(module)).graph.nodes if node.op == "call_module"]
    assert calls == ["0"], f"a trace calls {calls}, not the gate alone"


def _check_layer_training(gate: LayerGate, module: nn.Module, site: LayerSite, inputs: Tensor) -> None:
    _check_steering(gate, module)
    module.train()
    optimizer = torch.optim.AdamW([*module.parameters()], lr=0.01)
    for progress in (0.0, 0.25, 0.5, 1.0):
        gate.anneal(progress)
        leaf = inputs.clone().requires_grad_()
        output = _output(gate, leaf)
        wanted = (SAMPLES, *site.shape)
        assert tuple(output.shape) == wanted, f"the output is {tuple(output.shape)}, not {wanted}"
        loss = gate.loss()
        assert isinstance(loss, Tensor) and loss.shape == (), "loss() must be a scalar tensor"
        assert bool(torch.isfinite(loss)), "loss() is not finite"
        optimizer.zero_grad()
        (loss + output.square().mean()).backward()
        _check_gradients(module, leaf)
        optimizer.step()


@torch.no_grad()
def _check_layer_evaluation(gate: LayerGate, module: nn.Module, inputs: Tensor) -> None:
    module.eval()
    hidden = inputs.clone()
    hidden[0] *= 100  # whoever measures the batch is moved by this one
    untouched, before = hidden.clone(), copy.deepcopy(module.state_dict())
    together = _output(gate, hidden)
    assert torch.equal(hidden, untouched), "the gate changes its input in place"
    alone = torch.cat([_output(gate, sample) for sample in hidden.split(1)])
    scale = float(together.abs().max())
    assert torch.allclose(alone, together, atol=1e-5 * scale), "a sample's output depends on the rest of its batch"
    same = all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert same, "evaluation changes the state of the gate"


@torch.no_grad()
def _check_report(gate: LayerGate, module: nn.Module, inputs: Tensor) -> None:
    def observed(*batches: Tensor) -> dict[str, float]:
        module.eval()
        for batch in batches:
            gate(batch)
        report = dict(gate.report())
        for name, value in report.items():
            number = isinstance(value, float) and math.isfinite(value)
            assert number, f"report(): {name} is {value!r}, not a plain, finite float"
        return report

    gate.reset()
    nothing = observed()
    whole = observed(inputs)
    gate.reset()
    assert observed() == nothing, "reset() does not forget what was observed"
    parts = observed(*inputs.split([1, 5, SAMPLES - 6]))
    same = parts.keys() == whole.keys() and all(math.isclose(parts[name], whole[name], rel_tol=1e-5) for name in whole)
    assert same, f"report() depends on how samples are batched: {parts}, not {whole}"
    state = copy.deepcopy(module.state_dict())
    module.train()
    gate(2 * inputs)
    module.load_state_dict(state)
    assert observed() == parts, "report() counts what came by in training"


def _check_work_left(
    kind: LayerKind, site: LayerSite, placed: PlacedGate, module: nn.Module, report: Mapping[str, float]
) -> None:
    try:
        kind.work_left(site, PlacedGate.of(kind.name, site.name, **{**dict(placed.params), "no_such_parameter": 1}))
    except UserError:
        pass
    else:
        raise AssertionError("work_left() accepts a parameter that does not exist")
    least, seen = kind.work_left(site, placed), kind.work_left(site, placed, report)
    assert kind.work_left(site, placed, {}) == least, "work_left() differs between no report and an empty one"
    for work in (least, seen):
        assert work.calls, "work_left(): there is no call, not even one of which nothing is left"
        for call in work.calls:
            assert min(call.bits) >= 1, f"work_left(): a call of {call.bits} bits"
            assert all(0.0 <= share <= 1.0 for _, share in call.left), f"work_left(): {call.left} are no shares"
        assert 0.0 < work.density <= 1.0, f"work_left(): density {work.density} is not in (0, 1]"
        assert work.macs >= 0, "work_left(): macs is negative"
        count = sum(p.numel() for p in module.parameters())
        assert 0 <= work.params <= count, f"work_left(): params is {work.params}, the gate has {count} in all"
    for name, figure in FIGURES.items():
        lower, higher = figure(least), figure(seen)
        assert lower <= higher + 1e-9, (
            f"work_left(): without a report {name} must be the least possible, yet it is {lower:g}, with one {higher:g}"
        )


FIGURES: Mapping[str, Callable[[LayerWork], float]] = {
    "the work of all calls": lambda work: sum(call.share * math.prod(call.bits) for call in work.calls),
    "macs": lambda work: work.macs,
    "density": lambda work: work.density,
}


@torch.no_grad()
def _check_layer_state(module: nn.Module, again: nn.Module, inputs: Tensor) -> None:
    module.eval()
    wanted, file = _output(module, inputs), io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(_output(again.eval(), inputs), wanted), "state_dict() does not hold all of the gate's state"
    with torch.enable_grad():
        module.train()(inputs)
    module.load_state_dict(again.state_dict())
    try:
        twin = copy.deepcopy(module)
    except RuntimeError as error:
        raise AssertionError(f"the gate cannot be copied after a forward in training: {error}") from error
    assert torch.equal(_output(twin.eval(), inputs), wanted), "a deep copy of the gate does something else"


def _output(gate: Callable[[Tensor], Tensor | tuple[Tensor, object]], inputs: Tensor) -> Tensor:
    """Return the output without the state that an LSTM returns beside it."""
    output = gate(inputs)
    return output if isinstance(output, Tensor) else output[0]
