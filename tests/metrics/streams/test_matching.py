"""Tests of matching detections with events, against counts by hand and every possible assignment."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.errors import UserError
from gatesearch.metrics.streams import COUNTINGS, GATESEARCH, Counting, Detection, Event, counting_rule, match
from gatesearch.metrics.streams.matching import FALSE_ACCEPT, REPEAT

EVENT = Event("yes", 2.0, 2.5)


def detections_at(*times: float, label: str = "yes") -> list[Detection]:
    return [Detection(label, time, 0.9) for time in times]


def roles(events: list[Event], detections: list[Detection], counting: Counting = GATESEARCH) -> list[int]:
    return match(events, detections, counting).roles.tolist()


@pytest.mark.parametrize(
    ("time_s", "hits"), [(1.99, False), (2.0, True), (2.5, True), (3.5, True), (3.51, False), (175 * 0.02, True)]
)
def test_a_detection_counts_from_the_start_to_a_second_after_the_end(time_s: float, hits: bool) -> None:
    assert roles([EVENT], detections_at(time_s)) == [0 if hits else FALSE_ACCEPT]


def test_another_class_is_a_false_accept() -> None:
    result = match([EVENT], detections_at(2.2, label="no"), GATESEARCH)
    assert result.roles.tolist() == [FALSE_ACCEPT] and result.misses(GATESEARCH) == 1


def test_one_detection_an_event_and_repeats_within_a_second_are_the_same() -> None:
    assert roles([EVENT], detections_at(2.1, 2.9, 3.1, 3.4)) == [0, REPEAT, REPEAT, FALSE_ACCEPT]


def test_a_second_word_close_by_has_its_own_detection() -> None:
    events = [EVENT, Event("yes", 2.6, 3.0)]
    assert roles(events, detections_at(2.4, 2.9)) == [0, 1]
    assert roles(events, detections_at(2.9)) == [0]  # one detection is one hit; the second word is missed


def test_words_that_overlap_lose_nothing() -> None:
    """The short word inside the long word gets the only detection in its time; the long word gets the other."""
    events = [Event("yes", 1.0, 9.0), Event("yes", 2.0, 2.2)]
    assert match(events, detections_at(3.0, 8.0), GATESEARCH).event_hits.tolist() == [1, 0]


def test_order_does_not_matter() -> None:
    events = [Event("yes", 8.0, 8.5), EVENT]
    assert match(events, detections_at(8.6, 2.3, 5.0), GATESEARCH).event_hits.tolist() == [0, 1]


times = st.integers(0, 60).map(lambda tenth: tenth / 10)


@st.composite
def small_scenes(draw: st.DrawFn) -> tuple[list[Event], list[Detection]]:
    events = [
        Event(draw(st.sampled_from("ab")), start, start + draw(st.integers(0, 15)) / 10)
        for start in draw(st.lists(times, max_size=4))
    ]
    return events, [Detection(draw(st.sampled_from("ab")), time, 0.5) for time in draw(st.lists(times, max_size=5))]


def inside(event: Event, detection: Detection, counting: Counting) -> bool:
    within = event.start_s - 1e-9 <= detection.time_s <= event.end_s + counting.tolerance_s + 1e-9
    return event.label == detection.label and within


@given(small_scenes())
def test_no_assignment_of_detections_leaves_fewer_misses(scene: tuple[list[Event], list[Detection]]) -> None:
    events, detections = scene
    best = 0
    for choice in itertools.product([*range(len(detections)), None], repeat=len(events)):
        used = [index for index in choice if index is not None]
        pairs = [(e, detections[i]) for e, i in zip(events, choice, strict=True) if i is not None]
        if len(set(used)) == len(used) and all(inside(event, each, GATESEARCH) for event, each in pairs):
            best = max(best, len(used))
    result = match(events, detections, GATESEARCH)
    assert len(events) - result.misses(GATESEARCH) == best == result.hits


@given(small_scenes(), st.sampled_from(list(COUNTINGS.values())))
def test_matches_are_one_to_one_and_inside(scene: Any, counting: Counting) -> None:
    events, detections = scene
    result = match(events, detections, counting)
    hits = [index for index in result.event_hits.tolist() if index >= 0]
    assert len(set(hits)) == len(hits)
    for event, index in enumerate(result.event_hits.tolist()):
        if index >= 0:
            assert result.roles[index] == event
    for detection, role in zip(detections, result.roles.tolist(), strict=True):
        if role >= 0:
            assert inside(events[role], detection, counting)
        elif role == FALSE_ACCEPT and counting.matching != "first":
            own = [event for event in events if inside(event, detection, counting)]
            assert not own  # under these rules, no detection in the time of an event is false
    false_times = np.sort([d.time_s for d, role in zip(detections, result.roles, strict=True) if role == FALSE_ACCEPT])
    if counting.debounce_s:
        assert (np.diff(false_times) > counting.debounce_s).all()


@given(small_scenes(), st.sampled_from(list(COUNTINGS.values())), st.randoms())
def test_counts_do_not_depend_on_the_order(scene: Any, counting: Counting, random: Any) -> None:
    events, detections = scene
    result = match(events, detections, counting)
    random.shuffle(events)
    random.shuffle(detections)
    other = match(events, detections, counting)
    assert (other.misses(counting), other.false_accepts) == (result.misses(counting), result.false_accepts)


# Four words of a stream and nine detections; each rule counts these detections. Times are in seconds.
WORDS = [
    Event("marvin", 10.0, 10.6),
    Event("marvin", 20.0, 20.6),
    Event("marvin", 30.0, 30.6),
    Event("marvin", 40.0, 41.0),
]
CALLS = [
    Detection("marvin", time, 0.9)
    for time in (
        10.4,  # inside the first word
        10.9,  # 0.3 s after the end of the first word
        22.4,  # 1.8 s after the end of the second word
        32.7,  # 2.1 s after the end of the third word
        40.2,  # inside the fourth word
        41.4,  # 0.4 s after the end of the fourth word, 1.2 s after the previous detection
        50.0,  # far from any word
        50.9,  # 0.9 s after the previous detection
        52.0,  # 1.1 s after the previous detection
    )
]
# The detections as counted by hand; a false accept is called false:
# gatesearch     10.4 and 40.2 are hits, 10.9 is a repeat. 22.4, 32.7, 41.4 (1.2 s after a hit), 50.0, 50.9 and 52.0 are
#                false.
# mlperf_tiny    With a tolerance of 2 s, 10.4, 22.4 and 40.2 are hits; 10.9 and 41.4 belong to the same words. 32.7,
#                50.0 and 52.0 are false. 50.9 is not counted, because it is within a second of 50.0.
# picovoice      With a tolerance of 0.5 s, 10.4, 10.9, 40.2 and 41.4 are hits. There are four hits and four words, so
#                no word counts as missed. The other five are false.
# openwakeword   Without tolerance, 10.4 and 40.2 are hits. 10.9, 22.4, 32.7, 41.4 and 50.0 are false. 50.9 and 52.0
#                are not counted, because they are within 4 s of 50.0.
# microwakeword  As for openwakeword, but within 1.48 s instead of 4 s. So 52.0 is false as well.
BY_HAND = {  # misses, false accepts
    "gatesearch": (2, 6),
    "mlperf_tiny": (1, 3),
    "picovoice": (0, 5),
    "openwakeword": (2, 5),
    "microwakeword": (2, 6),
}


@pytest.mark.parametrize("name", COUNTINGS)
def test_each_published_rule_counts_the_events_computed_by_hand(name: str) -> None:
    counting = counting_rule(name)
    result = match(WORDS, CALLS, counting)
    assert (result.misses(counting), result.false_accepts) == BY_HAND[name]


def test_mlperfs_debounce_starts_at_a_counted_false_accept() -> None:
    """Four detections are 0.6 s apart. The third counts, 1.2 s after the first. The fourth is too near the third."""
    counting = counting_rule("mlperf_tiny")
    assert roles([], detections_at(5.0, 5.6, 6.2, 6.8), counting) == [FALSE_ACCEPT, REPEAT, FALSE_ACCEPT, REPEAT]
    assert roles([], detections_at(5.0, 6.0), counting) == [FALSE_ACCEPT, REPEAT]  # one second later is still within


def test_mlperfs_runner_gives_a_detection_to_one_word_only() -> None:
    """The first word gets all detections up to two seconds after its end, even one inside the second word."""
    counting = counting_rule("mlperf_tiny")
    result = match([EVENT, Event("yes", 3.0, 3.5)], detections_at(2.4, 3.2), counting)
    assert result.misses(counting) == 1 and result.false_accepts == 0


def test_an_unknown_rule_is_named_with_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown rule 'picovoise'; nearest: 'picovoice'"):
        counting_rule("picovoise", "stream.counting")
