"""Tests of a cascade's expected latency and energy: properties, and figures computed by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.cost.energy import (
    TERMS,
    StageCost,
    expected_energy,
    expected_latency_us,
    front_end_bound,
    gain_end_to_end,
    gain_paper_style,
    link_bits,
    longest_latency_us,
)
from gatesearch.cost.stream_shares import reach

rates = st.floats(0.0, 1.0)
positive = st.floats(0.0, 1e4)
costs = st.builds(StageCost, st.sampled_from(["mcu", "npu"]), *[positive] * 7)
IDLE = {"mcu": 0.05, "npu": 0.01, "app": 0.02}


@st.composite
def streams(draw):
    kinds = draw(st.integers(1, 4))
    gates = draw(st.integers(0, 4))
    parts = draw(st.lists(st.floats(0.01, 1.0), min_size=kinds, max_size=kinds))
    shares = {f"kind{i}": part / sum(parts) for i, part in enumerate(parts)}
    passed = {kind: draw(st.lists(rates, min_size=gates, max_size=gates)) for kind in shares}
    return shares, passed


@st.composite
def cascades(draw):
    stages = draw(st.lists(costs, min_size=1, max_size=4))
    tail = sorted(draw(st.lists(rates, min_size=len(stages) - 1, max_size=len(stages) - 1)), reverse=True)
    return stages, [1.0, *tail]


def energy_of(stages, reached, **changes):
    fixed = {"idle_mw": IDLE, "period_s": 1.0, "sense_core": "mcu", "sense_uj": 200.0, "frontend_uj": 150.0}
    return expected_energy(stages, reached, **(fixed | changes))


@given(streams())
def test_reach_begins_at_one_and_never_rises(stream):
    reached = reach(*stream)
    assert reached[0] == 1.0
    assert all(0.0 <= b <= a for a, b in pairwise(reached))


@given(streams(), rates)
def test_reach_rises_with_every_pass_rate(stream, other):
    shares, passed = stream
    higher = {kind: [max(rate, other) for rate in row] for kind, row in passed.items()}
    assert all(a <= b + 1e-12 for a, b in zip(reach(shares, passed), reach(shares, higher), strict=True))


def test_reach_equals_hand_computed_figures():
    shares = {"positive": 0.1, "unknown": 0.1, "silence": 0.8}
    passed = {"positive": [0.99, 0.98], "unknown": [0.97, 0.5], "silence": [0.02, 0.1]}
    #           .1*.99   + .1*.97   + .8*.02     .1*.99*.98 + .1*.97*.5 + .8*.02*.1
    assert reach(shares, passed) == pytest.approx([1.0, 0.099 + 0.097 + 0.016, 0.09702 + 0.0485 + 0.0016])


@pytest.mark.parametrize(
    ("shares", "passed", "words"),
    [
        ({"a": 0.5}, {"a": [1.0]}, "add up to 1"),
        ({"a": 1.5, "b": -0.5}, {"a": [], "b": []}, "add up to 1"),
        ({"a": 1.0}, {"b": [1.0]}, "differ"),
        ({"a": 0.5, "b": 0.5}, {"a": [1.0], "b": []}, "rate for each gate"),
        ({"a": 1.0}, {"a": [1.1]}, "between 0 and 1"),
    ],
)
def test_invalid_streams_are_refused(shares, passed, words):
    with pytest.raises(ValueError, match=words):
        reach(shares, passed)


def test_energy_and_latency_equal_hand_computed_figures():
    stages = [
        StageCost("mcu", latency_us=1000.0, compute_uj=10.0),
        StageCost("npu", 400.0, 24.0, weights_uj=2.0, link_us=40.0, link_uj=0.4, wake_us=200.0, wake_uj=50.0),
        StageCost("app", 20.0, 10.0, weights_uj=1.0, link_us=20.0, link_uj=1.6, wake_us=1000.0, wake_uj=400.0),
    ]
    energy = energy_of(stages, [1.0, 0.2, 0.1])
    assert energy.by_term == pytest.approx(
        {
            "sense": 200.0,
            "frontend": 150.0,
            "compute": 10.0 + 0.2 * 24.0 + 0.1 * 10.0,
            "weights": 0.2 * 2.0 + 0.1 * 1.0,
            "link": 0.2 * 0.4 + 0.1 * 1.6,
            "wake": 0.2 * 50.0 + 0.1 * 400.0,
            "idle": 50.0 + 10.0 + 20.0,
        }
    )
    assert energy.by_core == pytest.approx(
        {"mcu": 50 + 350 + 10, "npu": 10 + 0.2 * (24 + 2 + 0.4 + 50), "app": 20 + 0.1 * (10 + 1 + 1.6 + 400)}
    )
    assert energy.by_stage[1]["wake"] == pytest.approx(10.0)
    assert energy.share("sense", "frontend") == pytest.approx(350.0 / energy.total_uj)
    assert expected_latency_us(stages, [1.0, 0.2, 0.1], 5000.0) == pytest.approx(5000 + 1000 + 0.2 * 640 + 0.1 * 1040)
    assert longest_latency_us(stages, 5000.0) == pytest.approx(5000 + 1000 + 640 + 1040)


@given(cascades())
def test_terms_and_cores_add_up_to_the_same_total(cascade):
    energy = energy_of(*cascade)
    assert set(energy.by_term) == set(TERMS)
    assert math.fsum(energy.by_core.values()) == pytest.approx(energy.total_uj)


@given(cascades(), rates)
def test_energy_and_latency_rise_with_reach(cascade, factor):
    stages, reached = cascade
    less = [reached[0], *(share * factor for share in reached[1:])]
    assert energy_of(stages, less).total_uj <= energy_of(stages, reached).total_uj * (1 + 1e-12)
    assert expected_latency_us(stages, less) <= expected_latency_us(stages, reached) * (1 + 1e-12)
    assert expected_latency_us(stages, reached) <= longest_latency_us(stages) * (1 + 1e-12)


@given(cascades(), positive)
def test_the_gain_is_bounded_by_the_cost_that_gates_cannot_avoid(cascade, fixed):
    stages, reached = cascade
    ungated = energy_of(stages, [1.0] * len(stages), sense_uj=fixed)
    gated = energy_of(stages, reached, sense_uj=fixed)
    bound = front_end_bound(ungated.share("sense", "frontend", "idle"))
    assert gain_end_to_end(ungated.total_uj, gated.total_uj) <= bound * (1 + 1e-9)


@given(st.integers(1, 10_000), rates, rates, st.sampled_from([8, 16, 32]))
def test_a_link_carries_no_more_bits_than_any_encoding_needs(elements, density, keep, precision):
    bits = link_bits(elements, density * elements, keep * elements, precision)
    assert bits <= elements * precision
    assert bits <= elements * (1 + density * precision) + 1e-9
    assert bits <= keep * elements * precision + 1e-9


def test_a_gain_is_infinite_if_nothing_remains():
    assert gain_paper_style(0.9, 0.5) == pytest.approx(20.0)
    assert gain_paper_style(1.0, 0.0) == math.inf == front_end_bound(0.0)


def test_a_stage_on_an_unknown_core_or_without_reach_is_refused():
    with pytest.raises(ValueError, match="gpu"):
        energy_of([StageCost("gpu", 1.0, 1.0)], [1.0])
    with pytest.raises(ValueError, match="argument"):
        energy_of([StageCost("mcu", 1.0, 1.0)], [1.0, 0.5])
