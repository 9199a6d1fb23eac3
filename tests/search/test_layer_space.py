"""Tests of search spaces with layer gates; their sizes must equal hand counts and enumeration."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import optuna
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch import recipe
from gatesearch.backbones.m_cifarnet import MCifarNet
from gatesearch.errors import UserError
from gatesearch.gates import fits, kind_of, kinds
from gatesearch.graph.sites import CutSite, LayerSite, cut_sites, layer_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate, Scalar
from gatesearch.search import Space, build_space
from tests.search.small_spaces import count_core_sequences, site

Kinds = Mapping[str, Mapping[str, Sequence[Scalar]]]

PG: Kinds = {"pg": {"bits": [8, 4], "high_bits": [4, 2], "mask": ["3d"], "target": [0.0]}}
FBS: Kinds = {"fbs": {"density": [0.9, 0.5], "block": [1]}}
BOTH: Kinds = {**PG, **FBS}


def conv(name: str, channels: int, inputs: int = 4) -> LayerSite:
    return LayerSite(
        name, "conv2d", (inputs, 6, 6), (channels, 6, 6), inputs * 9 * channels * 36, inputs * 9 * channels
    )


def linear(name: str, channels: int = 3) -> LayerSite:
    return LayerSite(name, "linear", (8,), (channels,), 8 * channels, 9 * channels)


THREE = (conv("a", 8), conv("b", 20), linear("c"))


class RandomTrial:
    """A trial that chooses at random. As Optuna does, it refuses a parameter whose choices change."""

    def __init__(self, generator: random.Random) -> None:
        self.generator, self.choices = generator, {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        assert self.choices.setdefault(name, list(choices)) == list(choices), f"{name}: dynamic choices"
        assert len(choices) > 1 or ":" not in name, f"{name}: nothing to choose"
        return self.generator.choice(list(choices))


def layer_space(
    sites: Sequence[LayerSite], some: Kinds, names: Sequence[str] | str = "all", together: bool = False
) -> Space:
    """Return a space of layer gates alone, on one core."""
    return build_space((), ("one",), some, layer_sites=sites, layer_names=names, together=together)


def propose(space: Space, trial: Any) -> tuple[PlacedGate, ...]:
    return space.propose(trial).gates


def gates_at(some: Kinds, where: LayerSite) -> list[PlacedGate]:
    """Return every gate of some kinds at one site, by brute force."""
    gates = []
    for kind, given_choices in some.items():
        if fits(kind, where):
            own = kind_of(kind).choices(where)
            rows = [values if len(values) == 1 else given_choices.get(name, values) for name, values in own.items()]
            gates += [PlacedGate.of(kind, where.name, **dict(zip(own, row, strict=True))) for row in product(*rows)]
    return gates


def brute_force(sites: Sequence[LayerSite], some: Kinds, together: bool) -> set[tuple[PlacedGate, ...]]:
    sites = [where for where in sites if any(fits(kind, where) for kind in some)]
    if not together:
        per_site = [[None, *gates_at(some, where)] for where in sites]
        return {tuple(gate for gate in row if gate is not None) for row in product(*per_site)}
    # A plan has one gate kind, with the same parameters at every site where it fits. The last of these sites decides
    # which parameter values there are.
    choices = {()}
    for kind in some:
        able = [where for where in sites if fits(kind, where)]
        for gate in gates_at(some, able[-1]) if able else ():
            if gate.kind == kind:
                choices.add(tuple(PlacedGate(kind, where.name, gate.params) for where in able))
    return choices


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(("some", "each"), [(PG, [5, 5, 5]), (FBS, [3, 3, 1]), (BOTH, [7, 7, 5])])
def test_plan_counts_equal_hand_counts(some: Kinds, each: list[int], together: bool) -> None:
    space = layer_space(THREE, some, together=together)
    assert len(space) == (max(each) if together else each[0] * each[1] * each[2])
    every, trial = brute_force(THREE, some, together), RandomTrial(random.Random(0))
    assert len(every) == len(space)
    proposals = {propose(space, trial) for _ in range(300)}
    assert proposals == every if together else proposals <= every
    # The proposals contain every gate of every site.
    assert {gate for gates in proposals for gate in gates} == {gate for gates in every for gate in gates}


def test_without_sites_or_kinds_there_is_one_choice() -> None:
    for space in (
        Space((), ("one",), 0, 0),
        layer_space((), BOTH),
        layer_space(THREE, {}),
        layer_space((), BOTH, together=True),
    ):
        assert len(space) == 1 and space.layer_sites == ()
        assert propose(space, RandomTrial(random.Random(0))) == ()


def test_a_parameter_that_is_not_named_has_the_choices_of_its_site() -> None:
    space = layer_space(THREE, {"fbs": {}, "pg": {}})
    assert [slot.sites for slot in space.slots] == [(where,) for where in THREE]
    for slot in space.slots:
        for kind in ("fbs", "pg"):
            assert (kind in slot.kinds) == fits(kind, slot.sites[0])
            if kind in slot.kinds:
                assert slot.values(kind) == dict(kind_of(kind).choices(slot.sites[0]))


def test_a_site_offers_only_the_values_that_fit_it() -> None:
    space = layer_space(THREE, {"fbs": {"density": [0.5], "block": [1, 16]}})
    assert space.slots[0].values("fbs")["block"] == (1,)  # 8 channels are no block of 16
    assert space.slots[1].values("fbs")["block"] == (1, 16)
    assert len(space) == 2 * 3


def test_a_kind_that_does_not_fit_the_last_site_is_still_offered() -> None:
    space = layer_space(THREE, BOTH, together=True)
    proposals = {propose(space, RandomTrial(random.Random(i))) for i in range(200)}
    by_kind = {gates[0].kind: [gate.site for gate in gates] for gates in proposals if gates}
    assert by_kind == {"pg": ["a", "b", "c"], "fbs": ["a", "b"]}


def test_sites_stand_in_the_order_of_the_data_whatever_the_order_of_their_names() -> None:
    assert [s.name for s in layer_space(THREE, BOTH, ["c", "a"]).layer_sites] == ["a", "c"]
    assert [s.name for s in layer_space(THREE, FBS).layer_sites] == ["a", "b"]  # no kind can go at c


choices_of = {
    "pg": {
        "bits": st.lists(st.sampled_from([8, 4]), min_size=1, max_size=2, unique=True),
        "high_bits": st.lists(st.sampled_from([4, 2, 1]), min_size=1, max_size=2, unique=True),
        "mask": st.just(["3d"]) | st.just(["3d", "m1"]),
        "target": st.just([0.0]),
    },
    "fbs": {
        "density": st.lists(st.sampled_from([0.9, 0.5, 0.3]), min_size=1, max_size=2, unique=True),
        "block": st.just([1]) | st.just([1, 16]),
    },
    "fbs_pg": {
        "density": st.just([0.5]),
        "block": st.just([1]),
        "bits": st.just([8]),
        "high_bits": st.lists(st.sampled_from([4, 2]), min_size=1, max_size=2, unique=True),
        "mask": st.just(["3d"]),
        "target": st.just([0.0]),
    },
}


@st.composite
def spaces(draw: st.DrawFn) -> tuple[list[LayerSite], Kinds, bool]:
    named = draw(st.lists(st.sampled_from(list(choices_of)), min_size=1, max_size=3, unique=True))
    some = {kind: draw(st.fixed_dictionaries(choices_of[kind])) for kind in named}
    widths = draw(st.lists(st.sampled_from([1, 4, 24]), max_size=2))
    sites = [conv(f"conv{i}", width) for i, width in enumerate(widths)]
    sites += [linear("classifier")] if draw(st.booleans()) else []
    return sites, some, draw(st.booleans())


@settings(max_examples=40)
@given(spaces(), st.randoms(use_true_random=False))
def test_the_length_is_the_number_of_choices_and_every_proposal_is_one_of_them(
    arguments: tuple[list[LayerSite], Kinds, bool], generator: random.Random
) -> None:
    sites, some, together = arguments
    space = layer_space(sites, some, together=together)
    every, trial = brute_force(sites, some, together), RandomTrial(generator)
    assert len(space) == len(every)
    for _ in range(5):
        assert propose(space, trial) in every


@pytest.mark.parametrize("together", [False, True])
def test_optuna_proposes_every_choice(together: bool) -> None:
    space, every = layer_space(THREE, BOTH, together=together), brute_force(THREE, BOTH, together)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    proposals = {propose(space, study.ask()) for _ in range(60)}
    assert proposals <= every and (not together or proposals == every)


def device_space(some: Kinds, layer_names: Sequence[str] | str = "all", **changes: Any) -> Space:
    cuts = (site("input", 1, 6, 6, after=300), site("a", 8, 6, 6, before=100, after=200))
    arguments = {"min_work": 0.0, "max_gates": 1, "layer_sites": THREE, "layer_names": layer_names}
    return build_space(cuts, ("mcu", "npu"), some, **{**arguments, **changes})


CUT: Kinds = {"gc": {"mode": ["channel"], "keep": [0.5, 1.0], "recall": [0.99]}}


def test_plans_of_both_sorts_of_gates_are_counted_and_canonical() -> None:
    space = device_space({**CUT, **FBS}, together=True)
    # Without a cut gate there is one stage, on one of two cores. With a cut gate there are two stages. A cut gate has 1
    # choice at the input, which has one channel, and 2 choices at site a. The layer gates have 3 choices: no gates, or
    # gates of one of two densities in all layers.
    assert len(space) == (count_core_sequences(2, 1) + (1 + 2) * count_core_sequences(2, 2)) * 3 == 33
    assert {kind for slot in space.cut_slots for kind in slot.kinds} == {"gc"} and space.layer_kinds == ("fbs",)
    trial, cut_kinds = RandomTrial(random.Random(0)), {"gc"}
    plans = {space.propose(trial) for _ in range(1500)}
    assert len(plans) == 33
    for plan in plans:
        cuts = [gate for gate in plan.gates if gate.kind in cut_kinds]
        assert list(plan.gates[: len(cuts)]) == cuts and len(plan.cores) == len(cuts) + 1
        assert [gate.site for gate in plan.gates[len(cuts) :]] in ([], ["a", "b"])
        assert GatePlan.from_json(plan.to_json()) == plan


def test_a_space_of_layer_gates_alone_has_one_stage() -> None:
    space = device_space(BOTH, max_gates=0)
    assert space.cut_sites == () and len(space) == 2 * 7 * 7 * 5
    assert {len(space.propose(RandomTrial(random.Random(i))).cores) for i in range(50)} == {1}
    assert space.variants() == []


def test_a_vast_space_still_has_a_length() -> None:
    many = tuple(conv(f"s{i}", 32) for i in range(40))
    assert len(device_space({"fbs_pg": {}}, layer_sites=many)) == sys.maxsize


@pytest.mark.parametrize(
    ("kinds_given", "names", "line"),
    [
        (BOTH, ["bb"], "space.layers.sites: unknown site 'bb'; nearest: 'b' (choices: a, b, c)"),
        (FBS, ["a", "c"], "space.layers.sites: no gate of fbs can go at 'c'"),
        (CUT, ["a"], "space.layers.sites: no gate of the space can go at 'a'"),
        ({"pgg": {}}, "all", "space.kinds: unknown gate kind 'pgg'; nearest: 'pg'"),
        ({"pg": {"bit": [8]}}, "all", "space.kinds.pg: unknown parameter 'bit'; nearest: 'bits'"),
        ({"pg": {"bits": [8, 99]}}, "all", "space.kinds.pg.bits: pg gate at a: bits: 99 is not a whole number"),
        ({"pg": {"mask": ["m3"]}}, "all", "space.kinds.pg.mask: pg gate at a: unknown mask 'm3'; nearest: 'm2"),
        ({"fbs": {"density": [0.0]}}, "all", "space.kinds.fbs.density: fbs gate at a: density: 0.0 is not in (0, 1]"),
        ({"fbs": {"block": [8]}}, "all", "space.kinds.fbs.block: fbs gate at a: block: 8 is not one of 1, 16"),
        # Each value is allowed, but not with every value of the other parameter.
        (
            {"pg": {"bits": [8, 4], "high_bits": [6, 2]}},
            "all",
            "space.kinds.pg: pg gate at a: high_bits: 6 is not a whole number from 1 to bits, 4",
        ),
        (
            {"fbs_pg": {"bits": [2]}},
            "all",
            "space.kinds.fbs_pg.bits: fbs_pg gate at a: high_bits: 4 is not a whole number from 1 to bits, 2",
        ),
    ],
)
def test_mistakes_of_the_user_give_an_error_of_one_line(kinds_given: Kinds, names: Any, line: str) -> None:
    with pytest.raises(UserError) as error:
        device_space(kinds_given, names)
    assert str(error.value).startswith(line) and "\n" not in str(error.value)


def test_a_value_that_fits_the_other_values_is_accepted_even_if_it_does_not_fit_the_defaults() -> None:
    assert (
        len(device_space({"pg": {"bits": [3], "high_bits": [2], "mask": ["3d"], "target": [0]}}, max_gates=0))
        == 2 * 2**3
    )


@pytest.mark.parametrize("name", [name for name, kind in kinds().items() if kind.site_type is LayerSite])
def test_the_default_choices_of_a_kind_give_a_space(name: str) -> None:
    recurrent = LayerSite("d", "lstm", (9, 40), (9, 64), 9 * 4 * 64 * 104, 4 * 64 * 106)
    space = device_space({name: {}}, max_gates=0, layer_sites=(*THREE, recurrent))
    assert len(space) > 2 and space.layer_sites


@pytest.mark.parametrize("name", ["cifar_pg_fbs", "digits_pg_fbs"])
def test_every_plan_of_a_shipped_space_can_be_built(name: str) -> None:
    written = recipe.load_space(name)
    net, x = MCifarNet(10, (1, 8, 8), width=0.25), torch.zeros(1, 1, 8, 8)
    cuts, layers = cut_sites(net, x), layer_sites(net, x)
    space = build_space(
        cuts, ("one",), written.kinds, cut_names=written.sites, min_work=written.min_work, min_gates=written.gates.min,
        max_gates=written.gates.max, layer_sites=layers, layer_names=written.layers.sites,
        together=written.layers.together,
    )  # fmt: skip
    assert [s.name for s in space.layer_sites] == [f"conv{i}.0" for i in range(1, 8)] and space.max_gates == 0
    for seed in range(5):
        plan = space.propose(RandomTrial(random.Random(seed)))
        model = GatedModel(net, plan, cuts, 10, layers=layers)
        assert list(model.layer_gates) == [gate.site for gate in plan.gates]


def test_cut_sites_are_not_layer_sites() -> None:
    here = CutSite("a", (8, 6, 6), 1, 1, 1, 1, "a")
    assert not any(fits(kind, here) for kind in ("pg", "fbs", "fbs_pg"))
