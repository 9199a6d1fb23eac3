from __future__ import annotations

from random import Random

import pytest
import torch
from supernets import supernet

from gatesearch.gates.gc import ChannelGC
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.search import Space
from gatesearch.search.supernet import cannot_express
from gatesearch.search.supernet.network import strongest


def placed(site: str, keep: float, mode: str = "channel", recall: float = 0.99) -> PlacedGate:
    return PlacedGate.of("gc", site, mode=mode, keep=keep, recall=recall)


def test_one_module_serves_every_keep_ratio_and_recall_target_of_channel_mode():
    net, _, _ = supernet()
    one = net.turned(placed("stem", 0.25))
    assert isinstance(one, ChannelGC) and (one.keep, one.recall) == (0.25, 0.99)
    assert net.turned(placed("stem", 0.5, recall=0.9)) is one
    assert (one.keep, one.recall) == (0.5, 0.9)
    assert net.turned(placed("blocks.0", 0.25)) is not one
    aims = {keep: net.turned(placed("stem", keep, "activation")) for keep in (0.25, 0.5, 1.0)}
    assert len({id(gate) for gate in (one, *aims.values())}) == 4
    # Input has one channel: one module; the other two sites one for channels and three for activations.
    assert len(net.gates) == 1 + 2 * 4


def test_masks_of_keep_ratios_are_nested():
    net, _, space = supernet()
    for site in space.sites[1:]:
        masks = []
        for keep in (0.25, 0.5, 1.0):
            gate = net.turned(placed(site.name, keep))
            assert isinstance(gate, ChannelGC)
            masks.append(gate.mask() > 0.5)
        assert [int(mask.sum()) for mask in masks] == [2, 4, 8]
        assert not (masks[0] & ~masks[1]).any() and not (masks[1] & ~masks[2]).any()


def test_without_gates_it_is_the_backbone_bit_for_bit():
    net, backbone, _ = supernet()
    inputs = torch.randn(5, 1, 12, 6)
    net.eval()
    assert torch.equal(net(inputs).logits, backbone(inputs))
    assert net(inputs).gates == ()


def test_with_gates_it_computes_what_a_gated_model_of_those_weights_does():
    net, backbone, _ = supernet()
    plan = GatePlan((placed("stem", 0.5), placed("blocks.0", 0.25, "activation")), ("mcu",) * 3)
    inputs, calibration = torch.randn(6, 1, 12, 6), torch.randn(32, 1, 12, 6)
    model = net.extracted(plan, backbone, calibration)
    assert isinstance(model, GatedModel) and model.plan == plan
    ours, alone = net.eval()(inputs, plan.gates), model(inputs)
    assert torch.equal(ours.logits, alone.logits)
    assert all(torch.equal(a.logit, b.logit) for a, b in zip(ours.gates, alone.gates, strict=True))
    other = net.extracted(GatePlan(plan.gates[:1], ("mcu",) * 2), backbone, calibration)
    assert not torch.allclose(other(inputs).logits, alone.logits)
    assert torch.equal(model(inputs).logits, alone.logits)  # nothing is shared with what was extracted


@pytest.mark.parametrize("keep", [0.25, 0.5])
def test_gradients_reach_what_a_plan_uses_and_nothing_else(keep):
    net, _, _ = supernet()
    gates = (placed("stem", keep),)
    output = net.train()(torch.randn(8, 1, 12, 6), gates)
    (output.logits.square().mean() + output.gates[0].logit.square().mean()).backward()
    used = net.turned(gates[0])
    assert isinstance(used, ChannelGC)
    assert used.mask_logits.grad is not None and used.mask_logits.grad.abs().sum() > 0
    assert used.linear.weight.grad is not None
    assert all(p.grad is not None for p in net.stages.parameters())
    others = [p for gate in net.gates if gate is not used for p in gate.parameters()]
    assert others and all(p.grad is None for p in others)


def test_the_strongest_gates_stand_everywhere_and_keep_least():
    _, _, space = supernet()
    found = [strongest(space, Random(seed)) for seed in range(8)]
    for gates in found:
        assert [gate.site for gate in gates] == [site.name for site in space.sites]
        assert [gate["keep"] for gate in gates] == [1.0, 0.25, 0.25]
    assert {gate["mode"] for gates in found for gate in gates} == {"channel", "activation"}


def test_what_a_supernet_cannot_hold_is_said():
    _, _, space = supernet()
    assert cannot_express(space, "classification") is None
    assert "reconstruction" in str(cannot_express(space, "reconstruction"))
    stiff = Space(space.sites, {"dsl": {}, **space.kinds}, space.cores)
    assert cannot_express(stiff, "classification") == "gates of kind dsl have weights of their own for each choice"
    assert cannot_express(Space((), space.kinds, space.cores), "classification") is not None
