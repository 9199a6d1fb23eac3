"""Tests of the first plans of a search, which a resumed search does not repeat."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from gatesearch.graph.sites import LayerSite
from gatesearch.plan import GatePlan, Scalar
from gatesearch.search import Evaluated, Objectives, SearchSettings, Space, search
from gatesearch.search.sampler.initial import initial_params, opening_gates, simplest_gates
from tests.search.small_spaces import small


def cost(plan: GatePlan) -> float:
    return math.inf if plan.cores[0] == "npu" else len(plan.gates) + plan.cores.count("npu") / 10


def start(space: Space) -> list[dict[str, Scalar]]:
    return initial_params(space, cost, simplest_gates(space))


def test_the_first_plans_are_no_gates_then_one_gentle_gate_at_each_site() -> None:
    space = small()
    params = start(space)
    assert [choice.get("site_0") for choice in params] == [None, "input", "stem", "block"]
    assert params[0] == {"gates": 0, "core_0": "mcu"}
    assert params[2] == {
        "gates": 1, "site_0": "stem", "cut:stem:gc.mode": "channel", "cut:stem:gc.keep": 1.0,
        "core_0": "mcu", "core_1": "mcu",
    }  # fmt: skip
    assert [c.get("site_0") for c in start(small(min_gates=1))] == ["input", "stem", "block"]
    assert [c["gates"] for c in start(small(max_gates=0))] == [0]


def test_some_first_plans_leave_cut_gates_to_the_sampler() -> None:
    assert opening_gates(small()) == [()]
    assert [[gate.site for gate in gates] for gates in opening_gates(small(min_gates=1))] == [["input"]]
    layers = (LayerSite("a", "conv2d", (3, 4, 4), (8, 4, 4), 100, 9),)
    both = {"gc": {"mode": ["channel"], "keep": [0.5, 1.0], "recall": [0.99]}, "fbs": {"density": [0.5, 0.9]}}
    kinds = [[gate.kind for gate in gates] for gates in opening_gates(small(kinds=both, layer_sites=layers))]
    assert kinds == [[], ["fbs"]]
    [first] = initial_params(small(), cost, opening_gates(small()))
    assert first == {"gates": 0, "core_0": "mcu"}


@pytest.mark.parametrize(("together", "labels"), [(True, ["layers"]), (False, ["a", "b"])])
def test_first_plans_have_each_layer_kind_gently_at_every_site_that_it_fits(together: bool, labels: list[str]) -> None:
    layers = (LayerSite("a", "conv2d", (3, 4, 4), (8, 4, 4), 100, 9), LayerSite("b", "linear", (8,), (8,), 64, 9))
    kinds = {"pg": {"bits": [4, 8], "high_bits": [2]}, "fbs": {"density": [0.5, 0.9]}}
    params = start(small(kinds=kinds, max_gates=0, layer_sites=layers, together=together))
    assert params[0] == {"gates": 0, "core_0": "mcu", **{f"{label}:kind": "none" for label in labels}}
    assert [params[1][f"{label}:kind"] for label in labels] == ["pg"] * len(labels)
    assert [params[1][f"{label}:pg.bits"] for label in labels] == [8] * len(labels)
    assert params[2][f"{labels[0]}:kind"] == "fbs" and params[2][f"{labels[0]}:fbs.density"] == 0.9
    assert len(params) == 3 and (together or params[2]["b:kind"] == "none")  # fbs fits convolutions alone


def test_a_search_begins_with_the_first_plans_and_does_not_repeat_them_on_resumption(tmp_path: Path) -> None:
    space = small()
    initial = start(space)

    def go(trials: int) -> list[GatePlan]:
        result = search(
            space, lambda plan: {}, lambda plan: Evaluated(Objectives(0.5, 1.0, cost(plan)), {}),
            SearchSettings(journal=tmp_path / "j", trials=trials, proposals=50, seed=0, initial=initial),
        )  # fmt: skip
        return [trial.plan for trial in result.trials]

    assert [[g.site for g in plan.gates] for plan in go(2)] == [[], ["input"]]
    plans = go(7)
    assert [[g.site for g in plan.gates] for plan in plans[:4]] == [[], ["input"], ["stem"], ["block"]]
    assert len(plans) >= 7
