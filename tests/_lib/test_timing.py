"""Tests of the timing of calls that take turns, and of the description of the machine that ran them."""

from __future__ import annotations

import json
import platform

import pytest

from gatesearch._lib import timing


def test_calls_take_turns():
    order: list[str] = []
    calls = {name: (lambda name=name: order.append(name)) for name in "abc"}
    timing.interleaved(calls, rounds=3, min_seconds=0.0)
    assert "".join(order[3:]) == "abc" * 3  # the first three calls warm up


def test_a_turn_repeats_a_short_call_and_reports_one_call(monkeypatch):
    clock = iter(range(0, 10**9, 1000))  # the clock moves on by 1 us at each query
    monkeypatch.setattr(timing.time, "perf_counter_ns", lambda: next(clock))
    result = timing.interleaved({"a": lambda: next(clock)}, rounds=4, min_seconds=10e-6)["a"]
    # A turn has 16 calls of 1 us each; the query of the clock at the end of the turn adds 1 us.
    assert result == timing.Timing(17 / 16, 17 / 16, 4)


def test_minimum_is_not_above_the_median():
    result = timing.interleaved({"a": lambda: sum(range(200))}, rounds=5)["a"]
    assert 0 < result.minimum_us <= result.median_us


def test_zero_rounds_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        timing.interleaved({}, rounds=0)


def test_fingerprint_is_json_and_names_neither_host_nor_paths():
    result = timing.fingerprint()
    text = json.dumps(result)
    assert platform.node() not in text and "/" not in text
    assert result["versions"]["torch"] and result["cores"] >= 1 and result["cpu"]
