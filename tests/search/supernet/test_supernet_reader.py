from __future__ import annotations

import pytest
import torch
from supernets import supernet

from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.search import Space
from gatesearch.search.supernet.reader import Reader
from gatesearch.training import Features, assess, calibrate


def reader(features: Features, net: torch.nn.Module, **settings: int) -> Reader:
    return Reader(net, features.validation, features.positive, features.kind_names, features.train.features, **settings)


def some(space: Space, count: int = 12) -> list[tuple[PlacedGate, ...]]:
    early, middle, late = (space.gates_at(site) for site in space.sites)
    pairs = [(a, b) for a in early + middle[::3] for b in late[::3]]
    return [(), (late[0],), *pairs[: count - 2]]


@pytest.mark.parametrize("net", ["ds_cnn", "kwt"])
def test_a_plan_is_worth_what_the_model_extracted_is(features: Features, net: str):
    made, backbone, space = supernet(net)
    read = reader(features, made)
    first, *rest = (space.gates_at(site) for site in space.sites)
    found = []
    for gates in [(), (first[0],), (first[0], rest[-1][2]), (rest[0][0],)]:
        plan = GatePlan(gates, ("mcu",) * (len(gates) + 1))
        model = made.extracted(plan, backbone, features.train.features)
        calibrate(model, features.validation, features.positive)
        alone = assess(model, features.validation, features.positive, features.kind_names)
        assert read(gates) == alone
        found.append(alone)
    assert any(one != found[0] for one in found)


def test_activations_that_are_kept_change_nothing_bit_for_bit(features: Features):
    net, _, space = supernet()
    kept = reader(features, net)
    for gates in some(space):
        fresh = reader(features, net, memory=0)  # keeps nothing
        assert kept(gates) == fresh(gates)
        for one, two in zip(kept._said.popitem()[1], fresh._said.popitem()[1], strict=True):
            assert torch.equal(one, two)
    assert kept._kept and not fresh._kept


def test_what_only_calibration_reads_is_not_computed_again(features: Features):
    net, _, _ = supernet()
    read = reader(features, net)
    gentle, hard = (PlacedGate.of("gc", "stem", mode="channel", keep=0.5, recall=recall) for recall in (0.99, 0.5))
    loose = read((gentle,))
    computed = dict(read._kept)
    strict = read((hard,))
    assert dict(read._kept) == computed
    assert strict.passed["positive"][-1] < loose.passed["positive"][-1]


def test_memory_is_bounded_and_the_least_recent_go_first(features: Features):
    net, _, space = supernet()
    limit = 200_000
    read = reader(features, net, memory=limit)
    for gates in some(space):
        read(gates)
        assert sum(one.bytes for one in read._kept.values()) <= limit
    assert read._kept
