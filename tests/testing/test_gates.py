"""Tests of the conformance suites: shipped gates and networks pass, and a suite names each broken promise."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import nn

from gatesearch import gates
from gatesearch.gates.fbs import FBS
from gatesearch.gates.gc import GC, ActivationGC, ChannelGC, GCParams
from gatesearch.gates.pg import PG, PGConv2d
from gatesearch.graph.sites import CutSite, LayerSite
from gatesearch.testing.backbones import check_backbone
from tests.nets import CLASSES, NETS
from tests.testing.gate_suites import broken_promises, check_gate, suite_of

PLANE = CutSite("here", (8, 5, 4), 1, 1, 1, 1, "here")
CONV = LayerSite("here", "conv2d", (6, 5, 4), (20, 5, 4), 6 * 9 * 400, 6 * 9 * 20)
LINEAR = LayerSite("here", "linear", (6,), (20,), 120, 140)
LSTM = LayerSite("here", "lstm", (7, 6), (7, 5), 1, 1)
LAYERS: dict[str, tuple[LayerSite, Callable[[], nn.Module]]] = {
    "conv2d": (CONV, lambda: nn.Conv2d(6, 20, 3, padding=1, bias=False)),
    "linear": (LINEAR, lambda: nn.Linear(6, 20)),
    "lstm": (LSTM, lambda: nn.LSTM(6, 5, batch_first=True)),
}
LAYER_KINDS = [name for name, kind in gates.kinds().items() if kind.site_type is LayerSite]


def assert_breaks(message: str, *args: Any, **params: Any) -> None:
    """Check that a test of the suite fails with the message."""
    messages = broken_promises(suite_of(*args, **params))
    assert any(re.search(message, text) for text in messages), messages


@pytest.mark.parametrize("shape", [(16,), (8, 10), (8, 5, 4), (1, 12, 6)])
@pytest.mark.parametrize("name", gates.kinds())
def test_every_installed_kind_conforms_at_every_rank(name, shape):
    site = CutSite("here", shape, 1, 1, 1, 1, "here")
    if gates.fits(name, site):
        check_gate(gates.kind_of(name), site)


@pytest.mark.parametrize(
    "params", [{"mode": m, "keep": k} for m in ("channel", "activation") for k in (0.1, 0.5, None)]
)
def test_gc_conforms_with_every_sort_of_parameter(params):
    check_gate(GC(), PLANE, recall=0.9, **params)


def test_the_check_does_not_change_the_random_state():
    state = torch.get_rng_state()
    check_gate(GC(), PLANE)
    check_backbone(NETS["ds_cnn"][0], torch.randn(2, 1, 12, 6, generator=torch.Generator()), CLASSES)
    assert torch.equal(torch.get_rng_state(), state)


class Shut(ChannelGC):
    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.theta.fill_(0.0)


class Leaky(ChannelGC):
    def compress(self, hidden):
        return super().compress(hidden) + 0.1


class InPlace(ChannelGC):
    def compress(self, hidden):
        with torch.no_grad():
            hidden[:, -1] = 0
        return super().compress(hidden)


class OtherHead(ActivationGC):
    def lower(self):
        lowered = super().lower()
        lowered.head.linear.bias.data += 1
        return lowered


class Strict(ChannelGC):
    def calibrate(self, logit, positive):
        self.theta.fill_(float(logit.max()))


class Batchwise(ChannelGC):
    def forward(self, hidden):
        output = super().forward(hidden)
        return output._replace(logit=output.logit - output.logit.mean())


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        (Shut, "theta must start at -inf"),
        (Leaky, "drops is not zero|passes something else"),
        (InPlace, "in place"),
        (OtherHead, "the lowered head's logit is another"),
        (Strict, "calibrate\\(\\) reaches a recall of"),
        (Batchwise, "depends on the rest of its batch"),
    ],
)
def test_the_suite_names_the_promise_that_a_gate_breaks(mode, message):
    class Kind(GC):
        def build(self, site, params, layer=None, norm=None):
            return mode(site.shape, 0.5, 0.99)

    assert_breaks(message, Kind(), PLANE, keep=0.5, recall=0.99)


def test_the_suite_names_work_that_does_not_fit_the_lowered_head():
    class Cheap(GC):
        def work(self, site, params, observed=None):
            return replace(super().work(site, params, observed), macs=0)

    assert_breaks(r"work\(\): macs is 0, the lowered head takes 8", Cheap(), PLANE, keep=0.5)


@pytest.mark.parametrize("op", LAYERS)
@pytest.mark.parametrize("name", LAYER_KINDS)
def test_every_installed_layer_kind_conforms_at_every_layer(name, op):
    site, layer = LAYERS[op]
    if gates.fits(name, site):
        check_gate(gates.kind_of(name), site, layer())


def normed() -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(20)
    norm(torch.randn(8, 20, 5, 4) * 2 + 1)
    return norm


@pytest.mark.parametrize(
    ("name", "params"),
    [
        *(("pg", {"bits": 8, "high_bits": 2, "mask": mask, "target": 0.5}) for mask in ("3d", "m1", "m2-8", "m2-16")),
        ("pg", {"bits": 4, "high_bits": 2}),
        *(("fbs", {"density": d, "block": b}) for d in (0.3, 1.0) for b in (1, 16)),
        *(("fbs_pg", {"density": 0.5, "block": 1, "bits": 8, "high_bits": 4, "mask": m}) for m in ("3d", "m2-16")),
        ("fbs_pg", {"density": 0.7, "block": 16, "bits": 4, "high_bits": 2, "mask": "m1"}),
    ],
)
def test_layer_kinds_conform_with_every_sort_of_parameter_and_a_norm(name, params):
    check_gate(gates.kind_of(name), CONV, LAYERS["conv2d"][1](), normed(), **params)


def test_the_check_of_layers_does_not_change_the_random_state():
    layer, state = nn.Conv2d(6, 20, 3, padding=1), torch.get_rng_state()
    check_gate(FBS(), CONV, layer, density=0.5)
    assert torch.equal(torch.get_rng_state(), state)


class LookedInto(PGConv2d):
    traced_whole = False


class Batched(PGConv2d):
    def forward(self, x, winners=None):
        return super().forward(x / x.abs().max(), winners)


class WritesBack(PGConv2d):
    def forward(self, x, winners=None):
        with torch.no_grad():
            x.clamp_(max=1.0)
        return super().forward(x, winners)


class Drifting(PGConv2d):
    def forward(self, x, winners=None):
        with torch.no_grad():
            self.range.batches.add_(1)
        return super().forward(x, winners)


class Narrow(PGConv2d):
    def forward(self, x, winners=None):
        return super().forward(x, winners)[:, 1:]


class WithoutGradient(PGConv2d):
    def forward(self, x, winners=None):
        return super().forward(x.detach(), winners)


class LossOfEach(PGConv2d):
    def loss(self):
        return self.threshold.square()


class LossAtInfinity(PGConv2d):
    def loss(self):
        return super().loss() / 0


class Foreign(PGConv2d):
    def control_parameters(self):
        yield nn.Parameter(torch.zeros(1))


class Twice(PGConv2d):
    def control_parameters(self):
        yield from [self.threshold, self.threshold]


class Tensors(PGConv2d):
    def report(self):
        return {name: torch.tensor(value) for name, value in super().report().items()}


class Unforgetting(PGConv2d):
    def reset(self):
        pass


class LastBatch(PGConv2d):
    def _observe(self, margin, winners):
        self.reset()
        super()._observe(margin, winners)


class Always(PGConv2d):
    def gated(self, x, weights, winners=None):
        output, training = super().gated(x, weights, winners), self.training
        if training:
            self.observed[:2] += output.numel()
        return output


class Bare(PGConv2d):
    """A gate whose thresholds are in no checkpoint."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        start = self.threshold.detach()
        del self.threshold
        self.threshold = start

    def gated(self, x, weights, winners=None):
        if self.training:
            self.threshold = self.threshold + 0.3
        return super().gated(x, weights, winners)

    def control_parameters(self):
        return self.range.parameters()


class Clinging(PGConv2d):
    """A gate that stores a tensor with its autograd graph, which cannot be copied."""

    def forward(self, x, winners=None):
        self.last = super().forward(x, winners)
        return self.last


class Stubborn(PGConv2d):
    def anneal(self, progress):
        raise ValueError(progress)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (LookedInto, "traced_whole must be True"),
        (Batched, "a sample's output depends on the rest of its batch"),
        (WritesBack, "in place"),
        (Drifting, "evaluation changes the state"),
        (Narrow, r"the output is \(32, 19, 5, 4\), not \(32, 20, 5, 4\)"),
        (WithoutGradient, "no gradient flows back"),
        (LossOfEach, r"loss\(\) must be a scalar"),
        (LossAtInfinity, r"loss\(\) is not finite"),
        (Foreign, "an object that is no parameter"),
        (Twice, "yields a parameter twice"),
        (Tensors, r"report\(\): sparsity is tensor\(.*\), not a plain, finite float"),
        (Unforgetting, r"reset\(\) does not clear"),
        (LastBatch, r"report\(\) depends on how samples are batched"),
        (Always, r"report\(\) counts inputs in training"),
        (Bare, r"state_dict\(\) does not hold all"),
        (Clinging, "cannot be copied after a forward in training"),
        (Stubborn, "0.0"),
    ],
)
def test_the_suite_names_the_promise_that_a_layer_gate_breaks(module, message):
    class Kind(PG):
        def build(self, site, params, layer=None, norm=None):
            return module(layer, params)

    assert_breaks(message, Kind(), CONV, nn.Conv2d(6, 20, 3, padding=1))


class Borrowing(PG):
    def build(self, site, params, layer=None, norm=None):
        gate = super().build(site, params, layer, norm)
        gate.layer = layer
        return gate


class Pessimist(PG):
    """A kind that prices all work if there is no report, although a search may then rule out a good plan."""

    def work(self, site, params, observed=None):
        return super().work(site, params, observed or {"weighted_sparsity": 0.0})


class Hopeful(PG):
    def work(self, site, params, observed=None):
        work = super().work(site, params, observed)
        return replace(work, calls=tuple(call._replace(remaining=(("element", 1.5),)) for call in work.calls))


class Unpaid(PG):
    def work(self, site, params, observed=None):
        return replace(super().work(site, params, observed), params=10**9)


class Silent(PG):
    """A kind whose gates report a figure that the kind does not declare."""

    figures = ()


class WithoutKernel(PG):
    """A kind whose work names a kernel that does not exist, so no host core could price the work."""

    def work(self, site, params, observed=None):
        call = gates.KernelCall("no_such_kernel", (5, 4, 6, 20))
        return replace(super().work(site, params, observed), kernels=(call,))


class Looping(PG):
    """A kind whose gates branch on a tensor's value in Python, which export cannot express."""

    def build(self, site, params, layer=None, norm=None):
        return DataDependent(layer, params)


class DataDependent(PGConv2d):
    def forward(self, x, winners=None):
        return super().forward(x if float(x.sum()) != 12.5 else -x, winners)


class Elsewhere(PG):
    def fits(self, site):
        return False


class AtCuts(PG):
    site_type = CutSite


class Nameless(PG):
    """A kind with an empty name."""

    name = ""


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Borrowing, "changes the layer that it was made from"),
        (AtCuts, "the site is no CutSite"),
        (Pessimist, r"without a report the work of all calls must be the least possible"),
        (Hopeful, r"work\(\): .* are no shares"),
        (Unpaid, r"work\(\): params is 1000000000"),
        (Silent, r"report\(\): sparsity is none of the kind's figures"),
        (WithoutKernel, r"work\(\): unknown kernel 'no_such_kernel'"),
        (Looping, "the gate cannot be exported"),
        (Elsewhere, r"fits\(\) refuses site 'here'"),
        (Nameless, "name must be a text"),
        (GC, "the site is no CutSite"),
    ],
)
def test_the_suite_names_the_promise_that_a_layer_kind_breaks(kind: Any, message: str):
    assert_breaks(message, kind(), CONV, nn.Conv2d(6, 20, 3, padding=1))


def test_the_suite_names_a_gate_that_trains_alone_and_changes_what_it_passes() -> None:
    class Kind(GC):
        def trains_alone(self, site, params):
            return True

    assert_breaks("changes what it passes", Kind(), PLANE, keep=0.5)


@dataclass(frozen=True)
class Loose(GCParams):
    """Parameters of which one is declared as tunable after training, although it changes the trained module."""

    keep: float | None = gates.param(1.0, choices=(0.5, 1.0), above=0, high=1, tunable_after_training=True, doc="x")


@dataclass(frozen=True)
class Wordless(GCParams):
    keep: float | None = gates.param(1.0, choices=(0.5, 1.0), above=0, high=1)


@dataclass(frozen=True)
class OutOfRange(GCParams):
    keep: float | None = gates.param(1.0, choices=(0.5, 2.0), above=0, high=1, doc="x")


class Tolerant(GCParams):
    @classmethod
    def read(cls, written):
        return super().read({name: value for name, value in written.items() if name in cls.fields()})


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (Loose, "keep is tunable after training, yet 0.5 changes what the gate does"),
        (Wordless, "keep has no doc"),
        (OutOfRange, r"keep: 2.0 is not in \(0, 1\]"),
        (Tolerant, r"Params.read\(\) accepts a parameter that does not exist"),
    ],
)
def test_the_suite_names_the_promise_that_parameters_break(params: Any, message: str):
    class Kind(GC):
        Params = params

    assert_breaks(message, Kind(), PLANE)


def test_the_suite_names_a_head_that_cannot_be_exported():
    class Asking(nn.Module):
        def __init__(self, head):
            super().__init__()
            self.head = head

        def forward(self, hidden):
            return self.head(hidden if float(hidden.sum()) != 12.5 else -hidden)

    class Stubborn(ChannelGC):
        def lower(self):
            lowered = super().lower()
            return lowered._replace(head=Asking(lowered.head))

    class Kind(GC):
        def build(self, site, params, layer=None, norm=None):
            return Stubborn(site.shape, params.keep, params.recall)

    assert_breaks("the lowered head cannot be exported", Kind(), PLANE)


def test_the_suite_names_a_head_that_no_engine_runs():
    """``torch.export`` accepts the head; the converter to .tflite does not."""

    class Leaking(nn.Module):
        def __init__(self, head):
            super().__init__()
            self.head = head

        def forward(self, hidden):
            passed, logit = self.head(hidden)
            return passed, logit + 1e-9 * nn.functional.rrelu(hidden).flatten(1)[:, :1]

    class Stubborn(ChannelGC):
        def lower(self):
            lowered = super().lower()
            return lowered._replace(head=Leaking(lowered.head))

    class Kind(GC):
        def build(self, site, params, layer=None, norm=None):
            return Stubborn(site.shape, params.keep, params.recall)

    assert_breaks("the lowered head cannot be exported", Kind(), PLANE)


@pytest.mark.parametrize("name", NETS)
def test_backbones_conform(name):
    factory, shape = NETS[name]
    check_backbone(factory, torch.randn(4, *shape, generator=torch.Generator().manual_seed(0)), CLASSES)


@pytest.mark.parametrize(
    ("factory", "shape", "message"),
    [
        (lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)), (4,), "logits have shape"),
        (lambda: nn.Linear(4, 3), (4,), "no cut site but its input"),
        (
            lambda: nn.Sequential(
                nn.Conv1d(4, 5, 1), nn.BatchNorm1d(5, track_running_stats=False), nn.Flatten(), nn.Linear(35, 3)
            ),
            (4, 7),
            "depend on the rest of its batch",
        ),
    ],
)
def test_the_suite_names_the_promise_that_a_backbone_breaks(factory, shape, message):
    with pytest.raises(AssertionError, match=message):
        check_backbone(factory, torch.randn(4, *shape), CLASSES)
