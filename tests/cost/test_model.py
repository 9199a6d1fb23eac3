"""Tests of the price of a plan: stages, links and memory against figures computed by hand, and bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.cost.energy import TERMS
from gatesearch.cost.frontend import FrontendWork
from gatesearch.cost.model import CostModel
from gatesearch.cost.surface import Surface
from gatesearch.cost.table import Table
from gatesearch.devices.profile import Device
from gatesearch.errors import UserError
from gatesearch.gates import work_of
from gatesearch.graph.sites import CutSite
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.search import Evaluated, SearchSettings, build_space, search

SHARES = {"positive": 0.2, "noise": 0.8}
SITES = (
    CutSite("input", (1, 5, 2), 0, 3000, 0, 30, "x"),
    CutSite("stem", (4, 2, 2), 1000, 2000, 10, 20, "stem"),
)
EMPTY = {"mcu": 0.0, "app": 2.0}  # readings of a program without operators


def constant(value: float, unit: str) -> dict[str, Any]:
    return {"value": value, "unit": unit, "provenance": "assumed", "source": "made up"}


def core(name: str, timing: dict[str, Any], active: float, idle: float, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "timing": timing,
        "active_mw": constant(active, "mW"),
        "idle_mw": constant(idle, "mW"),
        "wake_us": constant(more.get("wake_us", 0.0), "us"),
        "wake_uj": constant(more.get("wake_uj", 0.0), "uJ"),
        "weights_nj_per_byte": constant(more.get("weights", 0.0), "nJ/byte"),
        "memory": {"flash_kib": more.get("flash_kib", 64), "sram_kib": more.get("sram_kib", 64)},
        "formats": ["tflite"],
    }


def device(links: bool = True, **mcu: Any) -> Device:
    """Return a device with a microcontroller, which has the sensor, and with a core for applications.

    The microcontroller computes 50 multiply-accumulates (MACs) per microsecond. The core for applications is half as
    fast as this host.
    """
    instructions = {
        "model": "instructions",
        "instructions_per_mac": constant(2.0, "instructions/MAC"),
        "frontend_instructions_per_mac": constant(4.0, "instructions/MAC"),
        "clock_mhz": constant(100.0, "MHz"),
        "instructions_per_cycle": constant(1.0, "instructions/cycle"),
    }
    litert = {"model": "litert", "slowdown": constant(2.0, "x")}
    link = {
        "source": "mcu",
        "target": "app",
        "nj_per_byte": constant(2.0, "nJ/byte"),
        "mb_per_s": constant(10.0, "MB/s"),
    }
    return Device.model_validate(
        {
            "schema_version": 1,
            "name": "made_up",
            "cores": [
                core("mcu", instructions, 10.0, 0.05, **mcu),
                core("app", litert, 500.0, 0.02, wake_us=100.0, wake_uj=40.0, weights=1.0),
            ],
            "links": [link] if links else [],
            "sense": {"core": "mcu", "sensor_mw": constant(0.2, "mW")},
        }
    )


def surface(dense: float, **pruned: float) -> Surface:
    """Return a cost surface, as the latency table has it for each quantity of a block.

    Args:
        dense: the value with all channels active.
        pruned: values with half of the input channels (``i``), of the output channels (``o``), or of both (``io``).
    """
    corners = {"i": (0.5, 1.0), "o": (1.0, 0.5), "io": (0.5, 0.5)}
    return Surface.fit({(1.0, 1.0): dense, **{corners[name]: value for name, value in pruned.items()}})


def table(**changes: Any) -> Table:
    blocks = {
        "input": {
            "macs": surface(1000, o=500),
            "weight_bytes": surface(100, o=60),
            "activation_bytes": surface(30, o=20),
            "mcu": surface(1000, o=500),
            "app": surface(12, o=9),
        },
        "stem": {
            "macs": surface(2000, i=1000),
            "weight_bytes": surface(300, i=200),
            "activation_bytes": surface(28, i=18),
            "mcu": surface(2000, i=1000),
            "app": surface(15, i=11),
        },
    }
    rows = {"input": {"mcu": 20.0, "app": 4.0}, "stem": {"mcu": 8.0, "app": 3.0}}
    heads = {
        f"gc-{mode}@{name}": {key: surface(value) for key, value in row.items()}
        for mode in ("channel", "activation")
        for name, row in rows.items()
    }
    arguments: dict[str, Any] = {"sites": ("input", "stem"), "blocks": blocks, "heads": heads, "overhead": EMPTY}
    return Table(**{**arguments, "input_elements": 10, "fingerprint": {}, **changes})


def model(**changes: Any) -> CostModel:
    arguments: dict[str, Any] = {"device": device(), "table": table(), "sites": SITES, "shares": SHARES}
    return CostModel(**{**arguments, "frontend": FrontendWork(1000), "period_s": 1.0, **changes})


def gate(site: str, keep: float = 1.0, mode: str = "channel") -> PlacedGate:
    return PlacedGate.of("gc", site, keep=keep, mode=mode, recall=0.99)


SPLIT = GatePlan((gate("stem", 0.5),), ("mcu", "app"))
ALL_PLANS = [
    GatePlan(gates, cores)
    for gates in [
        (),
        (gate("input"),),
        (gate("stem", 0.5),),
        (gate("stem", 0.5, "activation"),),
        (gate("input"), gate("stem")),
    ]
    for cores in product(("mcu", "app"), repeat=len(gates) + 1)
    if list(cores) == sorted(cores, reverse=True)
]


def test_stages_cost_what_is_computed_by_hand() -> None:
    first, last = model().stages(SPLIT)
    work = work_of(SITES[1], SPLIT.gates[0])
    assert work.kept_channels == 2 and work.elements == 8
    assert (first.first_site, first.last_site, last.first_site, last.last_site) == ("input", "stem", "stem", "output")
    assert first.macs == 500 + work.macs and last.macs == 1000
    assert first.flash_bytes == 60 + work.params + 3 and last.flash_bytes == 200
    assert first.sram_bytes == 20 and last.sram_bytes == 18
    assert (first.provenance, last.provenance) == ("simulated", "measured")
    # Half of the channels remain: 500 MACs of the block, and 4 of 8 MACs of the head, at 50 MAC/us and 10 mW.
    assert first.cost.latency_us == pytest.approx(504 / 50)
    assert first.cost.terms == pytest.approx({"compute": 504 / 50 * 0.01, "weights": 0, "link": 0, "wake": 0})
    # 11 us on this host are 22 us on the core, at 500 mW. 200 bytes of weights cost 1 nJ each. 8 bytes cross the link
    # at 2 nJ and 10 MB/s.
    assert last.cost.total_us == pytest.approx(22 + 0.8 + 100)
    assert last.cost.terms == pytest.approx({"compute": 11.0, "weights": 0.2, "link": 0.016, "wake": 40.0})


def test_the_price_of_a_plan_equals_that_computed_by_hand() -> None:
    price = model().price(SPLIT, {"positive": [1.0, 0.9], "noise": [1.0, 0.1]})
    later = 0.2 * 0.9 + 0.8 * 0.1
    frontend = 1000 * 4 / 100
    work = work_of(SITES[1], SPLIT.gates[0])
    assert price.reach == pytest.approx((1.0, later))
    assert price.expected_macs == pytest.approx(500 + work.macs + later * 1000)
    assert price.expected_latency_us == pytest.approx(frontend + 10.08 + later * 122.8)
    assert price.longest_latency_us == pytest.approx(frontend + 10.08 + 122.8)
    assert price.energy.by_term == pytest.approx(
        {
            "sense": 200.0,
            "frontend": frontend * 0.01,
            "idle": 70.0,
            "compute": 0.1008 + later * 11.0,
            "weights": later * 0.2,
            "link": later * 0.016,
            "wake": later * 40.0,
        }
    )
    assert sum(price.energy.by_core.values()) == pytest.approx(price.energy.total_uj)


@pytest.mark.parametrize(("name", "micros"), [("mcu", 3000 / 50), ("app", (12 + 15 - 2) * 2)])
def test_the_plan_without_gates_is_the_sum_of_the_blocks(name: str, micros: float) -> None:
    [stage] = model().stages(GatePlan((), (name,)))
    assert (stage.macs, stage.flash_bytes, stage.sram_bytes) == (3000, 400, 30)
    # Each reading on this host includes 2 us of call overhead (EMPTY). A stage of two blocks is one program, so it has
    # this overhead once.
    assert stage.cost.latency_us == pytest.approx(micros)


def test_a_gate_at_the_input_is_a_program_of_its_own() -> None:
    first, _ = model().stages(GatePlan((gate("input"),), ("app", "app")))
    assert first.cost.latency_us == pytest.approx(4 * 2)
    assert first.macs == work_of(SITES[0], gate("input")).macs
    assert first.sram_bytes == 10
    assert first.cost.wake_uj == 40 and first.cost.link_uj == pytest.approx(10 * 2e-3)  # the features cross the link


def test_activations_cross_in_the_cheapest_encoding() -> None:
    plan = GatePlan((gate("stem", 0.25, "activation"),), ("mcu", "app"))
    bytes_of = lambda result: result[1].cost.link_uj / 2e-3  # noqa: E731
    # What crosses is a bitmap of 16 bits with the nonzero values, or all 16 values if these take fewer bytes.
    assert bytes_of(model().stages(plan)) == pytest.approx((16 + 0.25 * 16 * 8) / 8)
    assert bytes_of(model().stages(plan, [0.5])) == pytest.approx((16 + 0.5 * 16 * 8) / 8)
    assert bytes_of(model().stages(plan, [1.0])) == pytest.approx(16)


def test_measured_densities_count_suppressed_channels_as_zeros() -> None:
    # Half of the channels are removed, so 8 of 16 values cross. 2 of 16 values are not zero: a quarter of those 8.
    stage = model().stages(SPLIT, [2 / 16])[1]
    assert stage.cost.link_uj / 2e-3 == pytest.approx((8 + 2 * 8) / 8)


@pytest.mark.parametrize("plan", ALL_PLANS, ids=str)
def test_links_and_waking_cost_only_where_the_core_changes(plan: GatePlan) -> None:
    stages = model().stages(plan)
    for (before, now), stage in zip(pairwise(["mcu", *plan.cores]), stages, strict=True):
        entered = (stage.cost.link_us, stage.cost.link_uj, stage.cost.wake_us, stage.cost.wake_uj)
        assert all(value > 0 for value in entered) if before != now else not any(entered)
    assert [stage.cost.core for stage in stages] == list(plan.cores)


def rates(count: int) -> st.SearchStrategy[list[float]]:
    """Draw the share of windows that reach each stage: 1 for the first stage, and never more than the stage before."""
    falling = st.lists(st.floats(0, 1), min_size=count - 1, max_size=count - 1).map(lambda r: sorted(r, reverse=True))
    return falling.map(lambda row: [1.0, *row])


@st.composite
def plan_and_pass_rates(draw: st.DrawFn) -> tuple[GatePlan, Mapping[str, list[float]], Mapping[str, list[float]]]:
    """Draw a plan and two sets of pass rates, of which no rate of the first is above that of the second."""
    plan = draw(st.sampled_from(ALL_PLANS))
    stages = len(plan.cores)
    less = {kind: draw(rates(stages)) for kind in SHARES}
    more = {kind: [max(a, b) for a, b in zip(row, draw(rates(stages)), strict=True)] for kind, row in less.items()}
    return plan, less, more


@given(plan_and_pass_rates())
def test_larger_reach_never_costs_less(case: Any) -> None:
    plan, less, more = case
    a, b = model().price(plan, less), model().price(plan, more)
    assert a.reach[0] == b.reach[0] == 1.0
    assert all(x <= y + 1e-12 for x, y in zip(a.reach, b.reach, strict=True))
    assert a.expected_latency_us <= b.expected_latency_us + 1e-9
    assert a.expected_macs <= b.expected_macs + 1e-9
    assert a.energy.total_uj <= b.energy.total_uj + 1e-9
    assert a.longest_latency_us == b.longest_latency_us >= b.expected_latency_us - 1e-9
    assert set(a.energy.by_term) == set(TERMS)


@given(plan_and_pass_rates())
def test_the_bound_of_a_plan_is_below_its_price_for_all_pass_rates(case: Any) -> None:
    plan, passed, _ = case
    bound = model().bound(plan)
    price = model().price(plan, {**passed, "positive": [1.0] * len(plan.cores)})
    assert bound.energy.total_uj <= price.energy.total_uj + 1e-9
    assert bound.expected_latency_us <= price.expected_latency_us + 1e-9
    assert bound.longest_latency_us == price.longest_latency_us


def test_a_stage_that_needs_more_memory_than_its_core_has_is_infeasible() -> None:
    small = model(device=device(flash_kib=0.0625, sram_kib=0.015625))  # 64 and 16 bytes
    assert small.overflows(GatePlan((), ("app",))) == {}
    assert small.overflows(GatePlan((), ("mcu",))) == pytest.approx(
        {"mcu.flash": 400 / 64 - 1, "mcu.sram": 30 / 16 - 1}
    )
    # A core holds the weights of all its stages at once, but the activations of one stage at a time.
    both = GatePlan((gate("stem"),), ("mcu", "mcu"))
    work = work_of(SITES[1], gate("stem"))
    used = (100 + work.params + 3 + 300) / 64
    assert small.overflows(both) == pytest.approx({"mcu.flash": used - 1, "mcu.sram": 30 / 16 - 1})
    assert small.violations(both) == small.overflows(both)


def test_missing_links_and_operators_make_a_plan_infeasible() -> None:
    alone = model(device=device(links=False))
    assert alone.violations(SPLIT) == {"no link mcu to app": 1.0}
    # The front end runs on the microcontroller, so its features cannot reach the other core either.
    assert alone.violations(GatePlan((), ("app",))) == {"no link mcu to app": 1.0}
    assert alone.violations(GatePlan((), ("mcu",))) == {}
    blocks = {name: dict(row) for name, row in table().blocks.items()}
    blocks["stem"]["app"] = Surface.fit({(1.0, 1.0): 15.0, (0.5, 1.0): math.inf})
    unable = model(table=table(blocks=blocks))
    assert unable.violations(SPLIT) == {"app.operators": 1.0}
    assert unable.violations(GatePlan((gate("input"),), ("app", "app"))) == {"app.operators": 1.0}
    assert unable.violations(GatePlan((gate("stem"),), ("mcu", "mcu"))) == {}
    assert unable.ungated()[0].cores == alone.ungated()[0].cores == ("mcu",)


def test_the_ungated_backbone_runs_on_the_cheapest_core_that_fits() -> None:
    plan, price = model().ungated()
    assert plan == GatePlan((), ("mcu",)) and price.reach == (1.0,)
    assert model(device=device(flash_kib=0.1)).ungated()[0].cores == ("app",)
    nowhere = model(device=device(flash_kib=0.1, links=False))
    assert nowhere.ungated()[0].cores == ("mcu",)  # no core fits; the comparison still needs an ungated price


def test_a_search_fails_where_the_core_is_too_small_for_every_plan(tmp_path: Path) -> None:
    kinds = {"gc": {"mode": ["channel"], "keep": [0.5], "recall": [0.99]}}
    space = build_space(SITES, ["mcu"], kinds, min_work=0, max_gates=1)
    small = model(device=device(sram_kib=0.01))

    def never(plan: GatePlan) -> Evaluated:
        raise AssertionError(f"{plan} was trained")

    with pytest.raises(UserError, match=r"none of 3 proposed plans keeps .*\(mcu.sram\); relax constraints"):
        search(space, small.violations, never, SearchSettings(journal=tmp_path / "j", trials=5, proposals=100, seed=0))


@pytest.mark.parametrize(
    ("plan", "line"),
    [
        (GatePlan((gate("stm"),), ("mcu", "app")), "unknown site 'stm'; nearest: 'stem'"),
        (GatePlan((gate("stem"),), ("mcu", "ap")), "unknown core 'ap'; nearest: 'app'"),
    ],
)
def test_plans_with_unknown_sites_or_cores_are_refused(plan: GatePlan, line: str) -> None:
    with pytest.raises(UserError, match=line):
        model().stages(plan)


def test_a_plan_needs_a_core_for_each_stage() -> None:
    with pytest.raises(ValueError, match="zip"):
        model().stages(GatePlan((gate("stem"),), ("mcu",)))


def test_a_space_without_the_input_site_still_prices_the_layers_before_its_first_site() -> None:
    whole = model().stages(SPLIT)
    assert model(sites=SITES[1:]).stages(SPLIT) == whole
