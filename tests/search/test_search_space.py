"""Tests of search spaces of cut gates: their size, their plans, and errors of one line for wrong arguments."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.devices.profile import ClockSlot
from gatesearch.errors import UserError
from gatesearch.gates import GateKind, GateParams, kind_of, param, work_of
from gatesearch.gates import kind as registry
from gatesearch.graph.sites import CutSite, LayerSite
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.search import Space, build_space
from tests.search.small_spaces import count_plans_by_hand, site, small


class RandomTrial:
    """A trial that chooses at random, and refuses a parameter whose choices change."""

    def __init__(self, generator: random.Random) -> None:
        self.generator, self.choices = generator, {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        assert self.choices.setdefault(name, list(choices)) == list(choices), f"{name}: dynamic choices"
        return self.generator.choice(list(choices))


class FixedTrial:
    """A trial that returns fixed choices by name."""

    def __init__(self, **values: Any) -> None:
        self.values = values

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        assert self.values[name] in choices
        return self.values[name]


def all_plans(space: Space) -> set[GatePlan]:
    """Return every plan of a space, by brute force over subsets of sites, gates and cores."""
    result = set()
    per_site = [
        [None]
        + [
            PlacedGate.of("gc", slot.sites[0].name, **dict(zip(slot.values("gc"), values, strict=True)))
            for values in product(*slot.values("gc").values())
        ]
        for slot in space.cut_slots
    ]
    for row in product(*per_site):
        gates = tuple(gate for gate in row if gate is not None)
        if space.min_gates <= len(gates) <= space.max_gates:
            for cores in product(space.cores, repeat=len(gates) + 1):
                if list(cores) == sorted(cores, key=space.cores.index):
                    result.add(GatePlan(gates, cores))
    return result


SPACES = {
    "up to two gates": {},
    "at least one": {"min_gates": 1},
    "always two": {"min_gates": 2},
    "as many as sites": {"min_gates": 1, "max_gates": 9},
    "one core": {"core_names": ["npu"]},
    "no gate": {"max_gates": 0},
    "two sites": {"cut_names": ["block", "input"]},
    "one mode": {"kinds": {"gc": {"mode": ["activation"], "recall": [0.97, 0.99]}}},
}


@pytest.mark.parametrize("changes", SPACES.values(), ids=SPACES.keys())
def test_length_is_the_number_of_distinct_plans(changes: dict[str, Any]) -> None:
    space = small(**changes)
    plans = all_plans(space)
    assert len(space) == len(plans) == count_plans_by_hand(space)


@pytest.mark.parametrize("changes", SPACES.values(), ids=SPACES.keys())
def test_every_plan_of_the_space_is_proposed_and_no_other(changes: dict[str, Any]) -> None:
    space, trial = small(**changes), RandomTrial(random.Random(0))
    plans = all_plans(space)
    assert {space.propose(trial) for _ in range(150 * len(plans))} == plans


def test_sites_stand_in_the_order_of_the_data() -> None:
    assert [s.name for s in small(cut_names=["block", "input"]).cut_sites] == ["input", "block"]


@given(st.randoms(use_true_random=False))
def test_gates_and_cores_of_a_plan_stand_in_the_order_of_the_space(generator: random.Random) -> None:
    space = small()
    plan = space.propose(RandomTrial(generator))
    names = [s.name for s in space.cut_sites]
    places = [names.index(gate.site) for gate in plan.gates]
    assert places == sorted(set(places)) and len(plan.cores) == len(plan.gates) + 1
    assert all(space.cores.index(a) <= space.cores.index(b) for a, b in pairwise(plan.cores))
    again = GatePlan.from_json(plan.to_json())
    assert again == plan and hash(again) == hash(plan) and again.digest == plan.digest


def test_equal_choices_in_another_order_are_one_plan(space: Space) -> None:
    gates = {
        "cut:stem:gc.mode": "channel", "cut:stem:gc.keep": 0.5,
        "cut:block:gc.mode": "activation", "cut:block:gc.keep": 1.0,
    }  # fmt: skip
    cores = {"gates": 2, "core_0": "npu", "core_1": "mcu", "core_2": "npu"}
    swapped = cores | {"core_0": "mcu", "core_1": "npu"}
    one = space.propose(FixedTrial(**gates, **cores, site_0="stem", site_1="block"))
    other = space.propose(FixedTrial(**gates, **swapped, site_0="block", site_1="stem"))
    assert one == other and one.cores == ("mcu", "npu", "npu")


def test_a_site_that_is_drawn_twice_is_replaced_by_the_next_free_one(space: Space) -> None:
    params = {"cut:block:gc.mode": "channel", "cut:block:gc.keep": 0.5, "cut:input:gc.keep": 0.5}
    cores = {f"core_{k}": "mcu" for k in range(3)}
    plan = space.propose(FixedTrial(gates=2, site_0="block", site_1="block", **params, **cores))
    assert [gate.site for gate in plan.gates] == ["input", "block"]


def test_a_vast_space_still_has_a_length() -> None:
    sites = tuple(site(f"s{i}", 8, 2, 2, before=i, after=40 - i) for i in range(40))
    assert len(build_space(sites, ("a", "b", "c"), {"gc": {}}, min_work=0, max_gates=20)) == sys.maxsize


def test_min_work_removes_sites_except_those_that_are_named() -> None:
    assert [s.name for s in small(min_work=0.5).cut_sites] == ["input"]
    assert [s.name for s in small(min_work=0.5, cut_names=["stem"]).cut_sites] == ["stem"]


def test_a_space_lists_a_variant_for_each_mode_of_its_gates() -> None:
    assert [dict(v.params) for v in small().variants()] == [{"mode": "channel"}, {"mode": "activation"}]
    only = small(kinds={"gc": {"mode": ["activation"]}})
    # The input has one channel, where the mode of a gate is always "channel".
    assert {dict(v.params)["mode"] for v in only.variants()} == {"channel", "activation"}
    assert [dict(v.params) for v in small(kinds={"gc": {"mode": ["channel"]}}).variants()] == [{"mode": "channel"}]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"cut_names": ["stm"]}, "space.sites: unknown site 'stm'; nearest: 'stem' (choices: input, stem, block)"),
        ({"core_names": ["npj"]}, "space.cores: unknown core 'npj'; nearest: 'npu' (choices: mcu, npu)"),
        ({"kinds": {"gcc": {}}}, "space.kinds: unknown gate kind 'gcc'; nearest: 'gc'"),
        ({"kinds": {"gc": {"kep": [1.0]}}}, "space.kinds.gc: unknown parameter 'kep'; nearest: 'keep'"),
        ({"kinds": {"gc": {"keep": [0.5, 2.0]}}}, "space.kinds.gc.keep: gc gate at input: keep: 2.0 is not in (0, 1]"),
        ({"kinds": {"gc": {"mode": ["chanel"]}}}, "unknown mode 'chanel'; nearest: 'channel'"),
        ({"min_gates": 4, "max_gates": 5}, "space.gates.min: 4 gates, and only 3 sites to put them"),
    ],
)
def test_mistakes_of_the_user_give_an_error_of_one_line(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError) as error:
        small(**changes)
    assert line in str(error.value) and "\n" not in str(error.value)


@dataclass(frozen=True)
class PickyParams(GateParams):
    rank: int = param(1, choices=(1, 2, 3), low=1)
    fixed: int = param(7, choices=(7,))


class Picky(GateKind[CutSite, PickyParams]):
    """A second gate kind. Its choices depend on the site, and it does not fit the input."""

    name = "picky"
    site_type = CutSite
    Params = PickyParams

    def fits(self, site: CutSite) -> bool:
        return site.name != "input"

    def choices(self, site: CutSite) -> dict[str, tuple[Any, ...]]:
        return super().choices(site) | {"rank": tuple(range(1, 3 if site.name == "stem" else 4))}

    def build(self, site: CutSite, params: PickyParams, layer: Any = None, norm: Any = None) -> Any:
        raise AssertionError("a space builds nothing")

    def work(self, site: CutSite, params: PickyParams, observed: Any = None) -> Any:
        return work_of(site, PlacedGate.of("gc", site.name))


@pytest.fixture
def two_kinds(monkeypatch: pytest.MonkeyPatch) -> dict[str, GateKind[Any, Any]]:
    result = {"gc": kind_of("gc"), "picky": Picky()}
    monkeypatch.setattr(registry, "kinds", lambda: result)
    return result  # type: ignore[return-value]


def test_kinds_may_differ_by_site(two_kinds: dict[str, GateKind[Any, Any]]) -> None:
    space = small(kinds={"gc": {"mode": ["channel"], "keep": [1.0], "recall": [0.9, 0.99]}, "picky": {}})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    plans = set()
    for _ in range(150):  # Optuna itself refuses choices that change under one name
        plans.add(space.propose(study.ask()))
    assert all(gate.site != "input" for plan in plans for gate in plan.gates if gate.kind == "picky")
    # A gate has 2 choices at input, 2 + 2 at stem and 2 + 3 at block. Cores have 2 choices for one stage, 3 for two
    # stages and 4 for three stages.
    assert len(space) == 2 + 3 * (2 + 4 + 5) + 4 * (2 * 4 + 2 * 5 + 4 * 5)
    trial = RandomTrial(random.Random(1))
    assert len({space.propose(trial) for _ in range(20000)}) == len(space)


def test_sites_that_fit_no_kind_are_left_out_or_refused_if_named(two_kinds: dict[str, GateKind[Any, Any]]) -> None:
    assert [s.name for s in small(kinds={"picky": {}}).cut_sites] == ["stem", "block"]
    with pytest.raises(UserError, match=r"space.sites: no gate of picky can go at 'input', shape \[1, 6, 4\]"):
        small(kinds={"picky": {}}, cut_names=["input"])


@settings(deadline=None, max_examples=20)
@given(
    channels=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    keeps=st.lists(st.sampled_from([0.25, 0.5, 1.0]), min_size=1, max_size=2, unique=True),
    cores=st.integers(1, 3),
    bounds=st.tuples(st.integers(0, 2), st.integers(0, 3)).filter(lambda b: b[0] <= b[1]),
)
def test_length_holds_for_any_space(
    channels: list[int], keeps: list[float], cores: int, bounds: tuple[int, int]
) -> None:
    sites = tuple(site(f"s{i}", c, 2, 2, before=i, after=9 - i) for i, c in enumerate(channels))
    if bounds[0] > len(sites):
        return
    names = [f"core{i}" for i in range(cores)]
    kinds = {"gc": {"keep": keeps, "recall": [0.99]}}
    space = build_space(sites, names, kinds, min_work=0, min_gates=bounds[0], max_gates=bounds[1])
    assert len(space) == len(all_plans(space))


ONE_CONV = LayerSite("stem", "conv2d", (8, 6, 6), (8, 6, 6), 8 * 9 * 8 * 36, 8 * 9 * 8)
BOTH_SORTS = {
    "kinds": {"gc": {"keep": [0.5, 1.0], "recall": [0.99]}, "fbs": {"density": [0.5, 0.9], "block": [1]}},
    "layer_sites": (ONE_CONV,),  # it has the name of a cut site
}


@pytest.mark.parametrize("changes", [*SPACES.values(), BOTH_SORTS], ids=[*SPACES.keys(), "layers, too"])
def test_the_plans_of_a_space_are_enumerated_once_and_described_by_their_parameters(changes: dict[str, Any]) -> None:
    space = small(**changes)
    plans = list(space.plans())
    assert len(set(plans)) == len(plans) == len(space) and all(plan in space for plan in plans)
    for plan in plans:
        params = space.describe(plan)
        assert space.read(params) == plan and set(params) <= space.param_names
        assert {name: value in space.param_choices(plan)[name] for name, value in params.items()} == dict.fromkeys(
            params, True
        )


def test_plans_outside_the_space_are_refused(space: Space) -> None:
    gate = PlacedGate.of("gc", "stem", mode="channel", keep=0.5, recall=0.99)
    other = PlacedGate.of("gc", "stem", mode="channel", keep=0.25, recall=0.99)
    assert GatePlan((gate,), ("mcu", "npu")) in space
    assert GatePlan((other,), ("mcu", "npu")) not in space
    assert GatePlan((gate,), ("npu", "mcu")) not in space
    assert GatePlan((gate,), ("mcu",)) not in space
    assert GatePlan((gate,), ("mcu", "npu")) not in small(max_gates=0)
    assert space.read({}) is None and space.read({"gates": 3}) is None


def test_the_kinds_that_may_stand_at_a_site() -> None:
    space = small(**BOTH_SORTS)
    assert [space.kinds_at(site) for site in space.cut_sites] == [["gc"]] * 3
    assert space.kinds_at(ONE_CONV) == ["fbs"] and space.layer_kinds == ("fbs",)
    assert space.kinds_at(site("other", 1)) == []


CLOCKS = {
    "of the front end's core": [ClockSlot("mcu", ("96MHz", "48MHz"), always=True)],
    "of another core": [ClockSlot("npu", ("1GHz", "500MHz", "250MHz"), always=False)],
    "of both": [ClockSlot("mcu", ("96MHz", "48MHz"), always=True), ClockSlot("npu", ("1GHz", "2GHz"), always=False)],
    "of a core that is not searched": [ClockSlot("dsp", ("1GHz", "2GHz"), always=True)],
}


@pytest.mark.parametrize("clocks", CLOCKS.values(), ids=CLOCKS.keys())
@pytest.mark.parametrize("changes", [{}, {"min_gates": 1}, {"max_gates": 0}, {"core_names": ["npu"]}, BOTH_SORTS])
def test_a_space_with_clocks_enumerates_each_plan_once(changes: dict[str, Any], clocks: list[ClockSlot]) -> None:
    space, without = small(**changes, clocks=clocks), small(**changes)
    plans = list(space.plans())
    assert len(set(plans)) == len(plans) == len(space) and all(plan in space for plan in plans)
    assert {replace(plan, clocks=()) for plan in plans} == set(without.plans())
    for plan in plans:
        params = space.describe(plan)
        assert space.read(params) == plan and set(params) <= space.param_names
        assert GatePlan.from_json(plan.to_json()) == plan
    # A plan does not name a core's first clock, so plans at first clocks have the digests of plans without clocks.
    assert {plan.digest for plan in plans} >= {plan.digest for plan in without.plans()}


@pytest.mark.parametrize("clocks", CLOCKS.values(), ids=CLOCKS.keys())
def test_every_plan_of_a_space_with_clocks_is_proposed(clocks: list[ClockSlot]) -> None:
    space = small(cut_names=["stem"], kinds={"gc": {"mode": ["channel"], "keep": [0.5]}}, clocks=clocks)
    trial = RandomTrial(random.Random(0))
    assert {space.propose(trial) for _ in range(150 * len(space))} == set(space.plans())


def test_a_clock_outside_the_space_is_refused() -> None:
    space = small(clocks=CLOCKS["of another core"])
    assert GatePlan((), ("npu",), (("npu", "250MHz"),)) in space
    assert GatePlan((), ("npu",), (("npu", "100MHz"),)) not in space
    assert GatePlan((), ("mcu",), (("npu", "250MHz"),)) not in space  # the core runs no stage


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.sampled_from(["other", ["a list"], None, 3]))
def test_reading_parameters_again_gives_the_same_plan(seed: int, value: Any) -> None:
    space = small()
    plan = space.propose(RandomTrial(random.Random(seed)))
    params = space.describe(plan)
    assert space.read(params) == space.read({**params, "own": value}) == space.read(params) == plan
    assert space.read({**params, "gates": value}) is None or value == params["gates"]
    assert "_plans_by_params" not in space.__getstate__()
