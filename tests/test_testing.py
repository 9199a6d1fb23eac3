from __future__ import annotations

import pytest
import torch
from nets import CLASSES, NETS
from torch import nn

from gatesearch import gates
from gatesearch.gates.gc import GC, ActivationGC, ChannelGC
from gatesearch.plan import PlacedGate
from gatesearch.sites import CutSite
from gatesearch.testing import check_backbone, check_cut_gate

PLANE = CutSite("here", (8, 5, 4), 1, 1, 1, 1, "here")


@pytest.mark.parametrize("shape", [(16,), (8, 10), (8, 5, 4), (1, 12, 6)])
@pytest.mark.parametrize("name", gates.kinds())
def test_every_installed_kind_conforms_at_every_rank(name, shape):
    site = CutSite("here", shape, 1, 1, 1, 1, "here")
    kind = gates.kind_of(name)
    if kind.may_go(site):
        check_cut_gate(kind, site, PlacedGate.of(name, "here"))


@pytest.mark.parametrize(
    "params", [{"mode": m, "keep": k} for m in ("channel", "activation") for k in (0.1, 0.5, None)]
)
def test_gc_conforms_with_every_sort_of_parameter(params):
    check_cut_gate(GC(), PLANE, PlacedGate.of("gc", "here", recall=0.9, **params))


def test_the_check_leaves_the_random_state_alone():
    state = torch.get_rng_state()
    check_cut_gate(GC(), PLANE, PlacedGate.of("gc", "here"))
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
def test_a_gate_that_breaks_a_promise_is_told_which(mode, message):
    class Kind(GC):
        def wrap(self, site, placed):
            super().wrap(site, placed)
            return mode(site.shape, 0.5, 0.99)

    with pytest.raises(AssertionError, match=message):
        check_cut_gate(Kind(), PLANE, PlacedGate.of("gc", "here", keep=0.5, recall=0.99))


def test_work_that_does_not_fit_the_lowered_head_is_told():
    class Cheap(GC):
        def work(self, site, placed):
            work = super().work(site, placed)
            return gates.Work(0, work.params, work.kept_channels, work.elements, work.density)

    with pytest.raises(AssertionError, match=r"work\(\): macs is 0, the lowered head takes 8"):
        check_cut_gate(Cheap(), PLANE, PlacedGate.of("gc", "here", keep=0.5))


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
def test_a_backbone_that_breaks_a_promise_is_told_which(factory, shape, message):
    with pytest.raises(AssertionError, match=message):
        check_backbone(factory, torch.randn(4, *shape), CLASSES)
