"""Tests of plans: their JSON, their digest, and their description in one line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.plan import GatePlan, PlacedGate

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
names = st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=1).filter(
    lambda n: n not in ("kind", "site", "cls")
)
gates = st.builds(
    lambda kind, site, params: PlacedGate.of(kind, site, **params), names, names, st.dictionaries(names, scalars)
)
plans = st.builds(GatePlan, st.lists(gates, max_size=3).map(tuple), st.lists(names, max_size=4).map(tuple))


@given(plans)
def test_json_and_back_is_the_same_plan(plan):
    again = GatePlan.from_json(plan.to_json())
    assert again == plan
    assert hash(again) == hash(plan)
    assert again.digest == plan.digest
    assert GatePlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


@given(plans, plans)
def test_equal_plans_and_only_those_have_equal_digests(one, other):
    # True == 1 in Python but not in JSON. A parameter is always a flag or always a number, so the two never mix.
    has_flag = any(isinstance(value, bool) for plan in (one, other) for gate in plan.gates for _, value in gate.params)
    if not has_flag:
        assert (one == other) == (one.digest == other.digest)


def test_integers_and_equal_floats_give_one_plan():
    written, computed = (GatePlan((PlacedGate.of("gc", "input", keep=keep),)) for keep in (1, 1.0))
    assert written == computed
    assert written.digest == computed.digest


def test_the_order_of_gates_matters_and_that_of_parameters_does_not():
    a, b = PlacedGate.of("gc", "a", keep=0.5, recall=0.9), PlacedGate.of("gc", "b")
    assert a == PlacedGate.of("gc", "a", recall=0.9, keep=0.5)
    assert GatePlan((a, b)).digest != GatePlan((b, a)).digest
    assert GatePlan((a,), ("mcu", "npu")).digest != GatePlan((a,), ("npu", "mcu")).digest


def test_the_digest_does_not_change_between_versions():
    # Digests name caches and artifacts of earlier runs, which would not be found again with other digests.
    assert GatePlan().digest == "651d35df680f"
    plan = GatePlan((PlacedGate.of("gc", "blocks.2", mode="channel", keep=0.5, recall=0.99),), ("dsp", "npu"))
    assert plan.digest == "549ced691307"


def test_parameters_are_read_by_name():
    gate = PlacedGate.of("gc", "input", keep=0.25)
    assert gate["keep"] == 0.25
    with pytest.raises(KeyError):
        gate["bits"]


def test_a_plan_is_described_in_one_line():
    plan = GatePlan((PlacedGate.of("gc", "input", keep=0.5),), ("mcu", "npu"))
    assert str(plan) == "gc@input(keep=0.5) on mcu > npu"
    assert str(GatePlan()) == "no gates on ?"


def test_neighbouring_gates_that_differ_only_in_their_site_are_described_once():
    def gates(kind, *sites, **params):
        return tuple(PlacedGate.of(kind, site, **params) for site in sites)

    params = {"bits": 8, "block": 1, "density": 0.9, "high_bits": 4, "mask": "m2-16", "target": 0.0}
    seven = GatePlan(gates("fbs_pg", *(f"conv{i}.0" for i in range(1, 8)), **params), ("serial",))
    assert str(seven) == (
        "fbs_pg@conv1.0, conv2.0, conv3.0, conv4.0, conv5.0, conv6.0, conv7.0"
        "(bits=8, block=1, density=0.9, high_bits=4, mask=m2-16, target=0.0) on serial"
    )
    mixed = (
        *gates("pg", "a", bits=8),
        *gates("pg", "b", bits=6),
        *gates("fbs", "c", bits=6),
        *gates("pg", "d", bits=8),
    )
    assert str(GatePlan(mixed)) == "pg@a(bits=8) | pg@b(bits=6) | fbs@c(bits=6) | pg@d(bits=8) on ?"


@given(plans)
def test_the_description_covers_every_gate(plan):
    message = str(plan)
    assert all(gate.site in message and gate.kind in message for gate in plan.gates)
