from __future__ import annotations

import math

from small_spaces import small

from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.search import Objectives, Trial
from gatesearch.search.supernet.shortlist import sample, shortlist


def test_a_sample_holds_different_gates_begins_without_and_depends_on_the_seed():
    found = sample(small(), lambda plan: float(len(plan.gates)), 8, seed=0)
    assert found[0].gates == ()
    assert len({plan.gates for plan in found}) == len(found) == 8
    assert found == sample(small(), lambda plan: float(len(plan.gates)), 8, seed=0)
    assert found != sample(small(), lambda plan: float(len(plan.gates)), 8, seed=1)


def test_a_sample_keeps_to_what_can_be_paid_on_the_cheapest_cores():
    def cost(plan: GatePlan) -> float:
        return math.inf if len(plan.gates) == 2 else float(plan.cores.count("npu"))

    found = sample(small(), cost, 100, seed=0)
    # None, one that leaves input's one channel, four at either of the other sites.
    assert len(found) == 1 + 1 + 4 + 4
    assert all(set(plan.cores) == {"mcu"} for plan in found)


def trial(number: int, accuracy: float, latency: float, energy: float, gate: str, core: str = "mcu") -> Trial:
    plan = GatePlan((PlacedGate.of("gc", gate),), (core, core))
    return Trial(number, plan, "complete", Objectives(accuracy, latency, energy), True)


def test_the_shortlist_covers_the_front_and_gates_on_other_cores_come_with_it():
    front = [
        trial(0, 0.90, 9.0, 9.0, "a"),
        trial(1, 0.899, 8.9, 8.9, "b"),  # next to the first
        trial(2, 0.70, 5.0, 5.0, "c"),
        trial(3, 0.50, 1.0, 1.0, "d"),
        trial(4, 0.70, 4.0, 6.0, "c", core="npu"),
    ]
    found = [plan.gates[0].site for plan in shortlist(front, 3)]
    assert sorted(set(found)) in (["a", "c", "d"], ["b", "c", "d"])
    assert found.count("c") == 2
    assert len(shortlist(front, 10)) == 5
    beaten = [trial(5, 0.69, 5.1, 6.1, "e"), trial(6, 0.68, 5.2, 6.2, "f"), trial(7, 0.6, 6.0, 6.0, "c")]
    assert [plan.gates[0].site for plan in shortlist([*front, *beaten], 5)][5:] == ["e"]  # the next front
    assert len({plan.gates for plan in shortlist([*front, *beaten], 10)}) == 6
    assert shortlist(front[:1], 3) == [front[0].plan]
    assert shortlist([], 3) == []
