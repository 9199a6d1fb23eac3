"""Tests of the rivals of a detection run: the gate placed by hand, smaller networks, and the strongest rival."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.backbones.ds_cnn import DSCNN
from gatesearch.errors import UserError
from gatesearch.gates import kind_of
from gatesearch.graph.sites import INPUT, CutSite, cut_sites
from gatesearch.metrics.streams import STEADY, Activity
from gatesearch.pipeline import smaller_network
from gatesearch.pipeline.hand_placed import place_by_hand
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.rivals import RIVALS, Rival, train_rivals
from gatesearch.pipeline.smaller_network import narrower_widths
from gatesearch.pipeline.stream_comparison import StreamComparison
from gatesearch.pipeline.stream_timeline import DETAIL_S, choose_detail, open_stretches
from gatesearch.plan import GatePlan
from gatesearch.recipe import load
from gatesearch.runtime.chain import measure_parts
from gatesearch.search.space_builder import build_space
from tests.cost.test_model import model

GC = {"gc": {"mode": ["channel"], "keep": [0.25, 0.5, 1.0], "recall": [0.99, 0.995]}}


def chain_of_sites(blocks: int) -> tuple[CutSite, ...]:
    """Return the input site, and a cut site behind each of ``blocks`` blocks of equal work."""
    inside = [
        CutSite(f"block{k}", (8, 4, 4), 100 * k, 100 * (blocks + 1 - k), k, blocks + 1 - k, f"block{k}")
        for k in range(1, blocks + 1)
    ]
    return (CutSite(INPUT, (1, 8, 4), 0, 100 * (blocks + 1), 0, blocks, "x"), *inside)


def problem_with(blocks: int, kinds: dict[str, Any], names: Any = "all") -> Any:
    sites = chain_of_sites(blocks)
    space = build_space(sites, ("mcu", "app"), kinds, cut_names=names)
    return SimpleNamespace(sites=sites, space=space, recipe=SimpleNamespace(space=SimpleNamespace(kinds=kinds)))


def cost_that_refuses(*cores: str) -> Any:
    return SimpleNamespace(violations=lambda plan: {"memory": 1.0} if set(plan.cores) & set(cores) else {})


@given(st.integers(1, 8))
def test_a_hand_placed_gate_stands_behind_the_third_or_the_last_block(blocks: int) -> None:
    plans = place_by_hand(problem_with(blocks, GC), cost_that_refuses())
    assert {plan.gates for plan in plans} == {plans[0].gates}
    assert plans[0].gates[0].site == f"block{min(blocks, 3)}"
    assert [plan.cores for plan in plans] == [("mcu", "mcu"), ("mcu", "app"), ("app", "app")]


@given(st.sets(st.sampled_from(["input", "block1", "block2", "block4", "block5"]), min_size=1))
def test_if_that_site_is_not_searched_the_nearest_searched_site_counts(names: set[str]) -> None:
    order = ["input", "block1", "block2", "block3", "block4", "block5"]
    searched = [name for name in order if name in names]
    plan = place_by_hand(problem_with(5, GC, searched), cost_that_refuses())[0]
    distance = {name: abs(order.index(name) - 3) for name in searched}
    assert distance[plan.gates[0].site] == min(distance.values())


def test_the_hand_placed_gate_has_default_parameters_if_the_space_has_them() -> None:
    default = kind_of("gc").Params()
    gate = place_by_hand(problem_with(3, GC), cost_that_refuses())[0].gates[0]
    searched = {name: GC["gc"][name] for name in dict(gate.params)}
    assert all(gate[name] == getattr(default, name) for name in searched if getattr(default, name) in searched[name])


def test_cores_that_cannot_run_the_plan_are_left_out() -> None:
    assert [plan.cores for plan in place_by_hand(problem_with(3, GC), cost_that_refuses("app"))] == [("mcu", "mcu")]
    assert len(place_by_hand(problem_with(3, GC), cost_that_refuses("mcu", "app"))) == 3


def test_a_space_of_layer_kinds_has_no_hand_placed_gate() -> None:
    problem = problem_with(3, {"pg": {}})
    with pytest.raises(UserError, match=r"no kind of gate in space\.kinds stands between layers"):
        place_by_hand(problem, cost_that_refuses())


@pytest.mark.parametrize(
    ("backbone", "arguments", "first", "last"),
    [
        ("ds_cnn", {"width": 32}, 28, 4),
        ("ds_cnn", {"width": 30}, 28, 4),
        ("ds_cnn", {}, 60, 4),
        ("m_cifarnet", {}, 0.875, 0.125),
    ],
)
def test_widths_fall_from_the_recipes_own(backbone: str, arguments: Any, first: float, last: float) -> None:
    recipe: Any = SimpleNamespace(backbone=backbone, backbone_args=arguments)
    widths = list(narrower_widths(recipe))
    assert (widths[0], widths[-1]) == (first, last) and sorted(widths, reverse=True) == widths


def test_a_backbone_without_a_width_cannot_be_smaller() -> None:
    recipe: Any = SimpleNamespace(backbone="torch.nn:Flatten", backbone_args={})
    with pytest.raises(UserError, match=r"backbone torch\.nn:Flatten has no argument 'width'"):
        list(narrower_widths(recipe))


def test_a_rival_runs_on_the_cores_with_the_least_energy() -> None:
    cost = model()
    plans = [GatePlan((), (name,)) for name in cost.device.core_names]
    activities = [STEADY, Activity(0.25, 0.125)]
    rival: Any = Rival(model=None, plans=plans, cost=cost)  # type: ignore[arg-type]
    plan, price = rival.price(activities)
    energies = {each.cores[0]: cost.price_stream(each, activities).energy.total_uj for each in plans}
    assert energies[plan.cores[0]] == min(energies.values()) == price.energy.total_uj


def test_a_rival_on_whole_windows_catches_up_at_every_hop() -> None:
    plan = GatePlan((), ("mcu",))
    rival = Rival(model=None, plans=[plan], cost=model(), whole_windows=True)  # type: ignore[arg-type]
    every = [Activity(1.0, 1.0)] * 2
    assert rival.price([STEADY, STEADY])[1] == model().price_stream(plan, every)


@pytest.mark.parametrize(
    ("recursive", "reason"),
    [
        (False, "the stream is no sound"),
        (True, "the front end micro needs every hop"),
    ],
)
def test_an_impossible_rival_is_missing_with_a_warning(
    recursive: bool, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = SimpleNamespace(signal={})
    features = SimpleNamespace(validation=SimpleNamespace(stream=stream))
    frontend = SimpleNamespace(name="micro", recursive=recursive)
    inputs: Any = SimpleNamespace(problem=SimpleNamespace(features=features, frontend=frontend))
    rivals = train_rivals(inputs, ["level_gate"])
    assert dict(rivals.models) == {} and reason in rivals.missing["level_gate"]
    assert f"rival level_gate: missing: {reason}" in capsys.readouterr().err


def test_recipe_and_run_have_the_same_names_of_rivals() -> None:
    assert load("wake_word.yaml").stream.rivals == tuple(RIVALS)
    assert load("wake_word.yaml", ["stream.rivals=[]"]).stream.rivals == ()
    with pytest.raises(UserError, match="nearest: 'level_gate'"):
        load("wake_word.yaml", ["stream.rivals=[level_gat]"])


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(0.10, "careful"), (0.20, "cheap"), (0.01, "cheap")],  # if no rival keeps the limit, all rivals count
)
def test_the_strongest_rival_is_the_cheapest_that_keeps_the_misses(limit: float, expected: str) -> None:
    def result(miss_rate: float, total_uj: float) -> Any:
        return SimpleNamespace(detector=SimpleNamespace(point=SimpleNamespace(miss_rate=miss_rate)), total_uj=total_uj)

    rivals = {"careful": result(0.05, 30.0), "cheap": result(0.15, 10.0), "dear": result(0.04, 90.0)}
    assert StreamComparison(limit, result(0.1, 5.0), rivals).strongest == expected
    assert StreamComparison(limit, result(0.1, 5.0)).strongest is None


@given(st.lists(st.booleans(), min_size=2, max_size=60), st.data())
def test_stretches_add_up_to_the_whole_stream(flags: list[bool], data: st.DataObject) -> None:
    """Openings and open hops of two adjacent stretches add up to those of the whole stream; none counts twice."""
    part = np.array(flags)
    cut = data.draw(st.integers(1, len(flags) - 1))
    whole, first, last = (measure_parts([part], *ends)[0] for ends in ((), (0, cut), (cut, None)))
    weights = cut / len(flags), 1 - cut / len(flags)
    assert whole.open_share == pytest.approx(weights[0] * first.open_share + weights[1] * last.open_share)
    assert whole.openings == pytest.approx(weights[0] * first.openings + weights[1] * last.openings)


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_open_stretches_cover_the_open_hops(flags: list[bool]) -> None:
    runs, ends_s = np.array(flags), 1.0 + 0.5 * np.arange(len(flags))
    stretches = open_stretches(runs, ends_s, 0.5)
    assert sum(stop - start for start, stop in stretches) == pytest.approx(0.5 * runs.sum())
    assert all(after[0] > before[1] for before, after in pairwise(stretches))


def test_the_minute_in_detail_holds_what_went_wrong() -> None:
    events = [{"end_s": 20.0 * k, "detected": True} for k in range(1, 29)]
    detections = [{"time_s": 405.0, "false": True}, {"time_s": 430.0, "false": True}]
    start = choose_detail(events, detections, 600.0)
    assert start <= 405.0 and start + DETAIL_S >= 430.0
    assert choose_detail([], [], 30.0) == 0.0


REST_UJ, WORK_UJ = 20.0, 80.0  # energy per hop of the ungated 16-channel network: outside, inside its stage


def small_problem() -> Any:
    """Return a problem whose backbone is a DS-CNN of 16 channels."""
    features = torch.zeros(2, 1, 49, 10)
    split = SimpleNamespace(features=features, stream=None)
    recipe = load("kws_clips.yaml", ["backbone_args={width: 16, blocks: 1}"])
    backbone = DSCNN(3, (1, 49, 10), width=16, blocks=1)
    values: dict[str, Any] = {
        "recipe": recipe,
        "data": SimpleNamespace(classes=("a", "b", "c")),
        "frontend": None,
        "features": SimpleNamespace(shape=(1, 49, 10), train=split, validation=split),
        "goal": None,
        "augment": None,
        "backbone": backbone,
        "sites": cut_sites(backbone, features[:1]),
        "layers": (),
        "device": SimpleNamespace(core_names=("mcu",), cores=()),
        "space": None,
    }
    return Problem(**values)


@pytest.mark.parametrize("overhead", [1.0, 3.0])
@pytest.mark.parametrize(("budget_uj", "widest"), [(95.0, 12), (62.0, 8), (21.0, 4)])
def test_the_smaller_network_comes_near_the_power(
    monkeypatch: pytest.MonkeyPatch, overhead: float, budget_uj: float, widest: int
) -> None:
    """The latency table of a chosen network decides: if its energy exceeds the budget, a narrower one is tried."""
    problem = small_problem()
    tables = []

    def spent_uj(small: Any) -> float:
        return REST_UJ + overhead * WORK_UJ * small.sites[0].macs_after / problem.sites[0].macs_after

    def build(small: Any, _: Any) -> Any:
        tables.append(small)
        price = SimpleNamespace(energy=SimpleNamespace(total_uj=spent_uj(small)))
        return SimpleNamespace(
            device=problem.device,
            ungated_plans=lambda: [GatePlan((), ("mcu",))],
            price_stream=lambda plan, activities: price,
        )

    monkeypatch.setattr(smaller_network, "build_cost_model", build)
    energy = SimpleNamespace(by_stage=[{"compute": WORK_UJ}], total_uj=REST_UJ + WORK_UJ)
    power_mw = budget_uj / problem.period_s / 1e3
    ungated: Any = SimpleNamespace(energy=energy)
    candidate, small, _ = smaller_network._choose(problem, ungated, power_mw)
    assert small.sites[0].macs_after == candidate.macs < problem.sites[0].macs_after
    assert spent_uj(small) <= 1.05 * budget_uj or candidate.width == 4
    assert candidate.width == widest or (overhead > 1 and candidate.width < widest)
    assert len(tables) <= smaller_network.MAX_TABLES
