"""Tests of timings that wait for undisturbed moments, with simulated clocks.

A beat is a fixed amount of work between calls. If a beat is slow, the call beside it was disturbed and does not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import cycle

import pytest

from gatesearch.cost.sources.host import steady_timing
from gatesearch.cost.sources.host.steady_timing import Beat, NetCall, spread


class MadeUp(Beat):
    """A beat whose durations in microseconds come from a list."""

    def __init__(self, beats: Iterator[float]) -> None:
        super().__init__()
        self.beats = beats

    def __call__(self) -> float:
        duration = next(self.beats)
        self.fastest_us = min(self.fastest_us, duration)
        return duration


class Clock:
    """A simulated clock, which advances when calls made by ``taking`` run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ns = 0
        monkeypatch.setattr(time, "perf_counter_ns", lambda: self.ns)

    def taking(self, times_us: Iterator[float]) -> Callable[[], None]:
        def call() -> None:
            self.ns += round(1e3 * next(times_us))

        return call


def always(value: float) -> Iterator[float]:
    while True:
        yield value


def test_passes_go_on_until_two_of_each_call_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    calls = {"quiet": always(10.0), "slow": iter([30.0, 20.0, 19.9] + [50.0] * 40)}
    groups = [{name: clock.taking(times)} for name, times in calls.items()]
    result = spread(groups, 60.0, 0.0, rounds=1, beat=MadeUp(always(2.0)))
    assert result.noisy == () and result.us == {"quiet": 10.0, "slow": pytest.approx(19.95)}
    assert next(calls["slow"]) == 50.0  # the call was timed three times only


def test_calls_next_to_a_slow_beat_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """In half of the rounds, other load makes beats 1.7 times and the call 1.3 times as long."""
    clock = Clock(monkeypatch)
    beats, times = cycle([2.0] * 6 + [3.4] * 5), cycle([10.0] * 5 + [13.0] * 5)  # one more beat than calls
    result = spread([{"it": clock.taking(times)}], 60.0, 0.0, rounds=10, beat=MadeUp(beats))
    assert result.us == {"it": 10.0} and result.noisy == () and result.beat_us == 2.0


def test_earlier_beats_show_that_all_of_a_stretch_is_disturbed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, beat = Clock(monkeypatch), MadeUp(iter([2.0] + [3.0] * 100))
    beat()
    result = spread([{"it": clock.taking(always(13.0))}], 0.0, 0.0, rounds=5, beat=beat)
    assert result.us == {"it": 13.0} and result.noisy == ("it",)


def test_medians_of_parts_add_up_to_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    first, second = [9.0, 11.0, 11.0, 11.0, 12.0], [21.0, 21.0, 20.0, 22.0, 21.0]
    whole = [a + b for a, b in zip(first, second, strict=True)]
    groups = [{name: clock.taking(iter(t * 9)) for name, t in (("a", first), ("b", second), ("whole", whole))}]
    us = spread(groups, 60.0, 0.0, rounds=5, beat=MadeUp(always(2.0))).us
    assert us["a"] + us["b"] == us["whole"] == 32.0 and min(first) + min(second) < min(whole)


def test_timing_ends_at_its_budget_and_names_noisy_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    growing = (1.0 + step for step in range(1000))
    result = spread([{"a": clock.taking(growing)}], 0.0, 0.0, rounds=5, beat=MadeUp(always(2.0)))
    assert result.noisy == ("a",) and result.us == {"a": 3.0}


def test_the_time_of_a_loop_leaves_out_its_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    loop = clock.taking(always(105.0))

    def call() -> int:
        loop()
        return 100_000

    result = spread([{"loop": NetCall(call)}], 60.0, 0.0, rounds=5, beat=MadeUp(always(2.0)))
    assert result.us == {"loop": 5.0}


def test_caches_are_filled_before_each_call_that_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, order = Clock(monkeypatch), list[str]()
    calls: dict[str, steady_timing.Call] = {name: lambda name=name: order.append(name) for name in "ab"}  # type: ignore[misc]
    groups: list[dict[str, steady_timing.Call]] = [{"c": lambda: order.append("c")}, calls]
    spread(groups, 60.0, 0.0, 2, lambda: order.append("-"), MadeUp(always(2.0)))
    assert "".join(order) == "-c-cabab" * 2 and clock.ns == 0
