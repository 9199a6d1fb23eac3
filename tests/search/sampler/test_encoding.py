"""Tests of the vectors that encode plans for the sampler, against vectors computed by hand."""

from __future__ import annotations

import math

import numpy as np

from gatesearch.graph.sites import LayerSite
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.search.sampler.encoding import PlanEncoder
from tests.search.small_spaces import small


def gate(site: str, keep: float = 0.5, mode: str = "channel") -> PlacedGate:
    return PlacedGate.of("gc", site, mode=mode, keep=keep, recall=0.99)


def test_the_vector_of_a_gate_equals_one_written_by_hand() -> None:
    vector = PlanEncoder(small()).encode_cut_gate(gate("stem", keep=0.5))
    depth, channels_removed, *parameters = vector
    assert depth == 1 / 3 and channels_removed == -math.log(0.5)
    # The kind gives 1. The mode, which is the first of two choices, gives 1 and 0. keep=0.5, which is the stronger of
    # two values, gives 1. The recall, which has one value, gives 0.
    assert sorted(parameters) == [0, 0, 1, 1, 1]


def test_the_encoding_depends_on_sites_but_not_on_cores() -> None:
    features = PlanEncoder(small())
    here = features.encode_plan(GatePlan((gate("stem"),), ("mcu", "npu")))
    assert np.array_equal(here, features.encode_plan(GatePlan((gate("stem"),), ("mcu", "mcu"))))
    assert not np.array_equal(here, features.encode_plan(GatePlan((gate("block"),), ("mcu", "mcu"))))
    assert not np.array_equal(here, features.encode_plan(GatePlan((gate("stem", 1.0),), ("mcu", "mcu"))))
    assert len(features.encode_plan(GatePlan((), ("mcu",)))) == len(here)


def test_a_layer_gate_changes_the_vector_by_the_macs_of_its_layer() -> None:
    layers = (
        LayerSite("a", "conv2d", (8, 8, 8), (8, 8, 8), 36864, 9),
        LayerSite("b", "linear", (64,), (8,), 4 * 512, 9),
    )
    kinds = {"pg": {"bits": [8], "high_bits": [2, 4], "mask": ["3d"], "target": [0.0]}}
    features = PlanEncoder(small(kinds=kinds, max_gates=0, layer_sites=layers))

    def plan(*names: str) -> GatePlan:
        params = {"bits": 8, "high_bits": 4, "mask": "3d", "target": 0.0}
        return GatePlan(tuple(PlacedGate.of("pg", name, **params) for name in names), ("mcu",))

    none, large, small_one, both = (features.encode_plan(plan(*names)) for names in ([], ["a"], ["b"], ["a", "b"]))
    assert np.allclose(both.sum() - none.sum(), (large + small_one - 2 * none).sum(), atol=1.0)
    assert np.abs(large - none).sum() > np.abs(small_one - none).sum() > 0
