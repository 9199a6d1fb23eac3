from __future__ import annotations

import math
from pathlib import Path

import pytest

from gatesearch.graph.sites import LayerSite
from gatesearch.plan import GatePlan
from gatesearch.search.engine import Evaluated, Objectives, search
from gatesearch.search.sampler.initial import first_proposals, opening
from tests.search.small_spaces import small


def cost(plan: GatePlan) -> float:
    return math.inf if plan.cores[0] == "npu" else len(plan.gates) + plan.cores.count("npu") / 10


def test_no_gates_then_one_gentle_gate_at_each_site() -> None:
    space = small()
    found = first_proposals(space, cost)
    assert [choice.get("site_0") for choice in found] == [None, "input", "stem", "block"]
    assert found[0] == {"gates": 0, "core_0": "mcu"}
    assert found[2] == {
        "gates": 1, "site_0": "stem", "gc_mode_0": "channel", "gc_keep_0": 1.0, "core_0": "mcu", "core_1": "mcu",
    }  # fmt: skip
    assert [c.get("site_0") for c in first_proposals(small(fewest=1), cost)] == ["input", "stem", "block"]
    assert [c["gates"] for c in first_proposals(small(most=0), cost)] == [0]


def test_an_opening_leaves_gates_at_cuts_to_the_sampler() -> None:
    assert opening(small()) == [()]
    assert [[gate.site for gate in gates] for gates in opening(small(fewest=1))] == [["input"]]
    layers = (LayerSite("a", "conv2d", (3, 4, 4), (8, 4, 4), 100, 9),)
    both = {"gc": {"mode": ["channel"], "keep": [0.5, 1.0], "recall": [0.99]}, "fbs": {"density": [0.5, 0.9]}}
    kinds = [[gate.kind for gate in gates] for gates in opening(small(kinds=both, all_layers=layers))]
    assert kinds == [[], ["fbs"]]
    [first] = first_proposals(small(), cost, opening(small()))
    assert first == {"gates": 0, "core_0": "mcu"}


@pytest.mark.parametrize(("together", "labels"), [(True, ["layers"]), (False, ["a", "b"])])
def test_each_layer_kind_gentle_wherever_it_can_go(together: bool, labels: list[str]) -> None:
    layers = (LayerSite("a", "conv2d", (3, 4, 4), (8, 4, 4), 100, 9), LayerSite("b", "linear", (8,), (8,), 64, 9))
    kinds = {"pg": {"bits": [4, 8], "high_bits": [2]}, "fbs": {"density": [0.5, 0.9]}}
    found = first_proposals(small(kinds=kinds, most=0, all_layers=layers, together=together), cost)
    assert found[0] == {"gates": 0, "core_0": "mcu", **{f"{label}:kind": "none" for label in labels}}
    assert [found[1][f"{label}:kind"] for label in labels] == ["pg"] * len(labels)
    assert [found[1][f"{label}:pg.bits"] for label in labels] == [8] * len(labels)
    assert found[2][f"{labels[0]}:kind"] == "fbs" and found[2][f"{labels[0]}:fbs.density"] == 0.9
    assert len(found) == 3 and (together or found[2]["b:kind"] == "none")  # suppression is for convolutions


def test_a_search_begins_with_them_and_a_resumed_one_does_not_begin_again(tmp_path: Path) -> None:
    space = small()
    first = first_proposals(space, cost)

    def go(trials: int) -> list[GatePlan]:
        result = search(
            space, lambda plan: {}, lambda plan: Evaluated(Objectives(0.5, 1.0, cost(plan)), {}),
            journal=tmp_path / "j", trials=trials, proposals=50, seed=0, first=first,
        )  # fmt: skip
        return [trial.plan for trial in result.trials]

    assert [[g.site for g in plan.gates] for plan in go(2)] == [[], ["input"]]
    plans = go(7)
    assert [[g.site for g in plan.gates] for plan in plans[:4]] == [[], ["input"], ["stem"], ["block"]]
    assert len(plans) >= 7
