"""Tests of training windows drawn from scenes (labelled streams): labels, and hard negatives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.data.scenes import Scene, draw_scene, draw_windows, make_scene, mine_windows
from gatesearch.data.scenes.draw import draw_sound
from gatesearch.data.scenes.window_labels import PARTIAL, label_windows
from gatesearch.errors import UserError
from gatesearch.metrics.streams.events import Background, Event
from tests.data.scenes.clips import RATE, make_sources, short_settings

CLASSES = ("yes", "no", "quiet", "speech")
NAMES = {"quiet": "quiet", "speech": "speech"}


def make_toy(events: tuple[Event, ...]) -> Scene:
    """Return a scene of twenty seconds at 10 Hz, quiet for twelve and speech for eight; sample i has the value i."""
    segments = (Background("quiet", 0.0, 12.0), Background("speech", 12.0, 20.0))
    samples = np.arange(200, dtype=np.int16)
    return Scene(
        name="toy", rate=10, length=200, classes=("yes", "no"), events=events, segments=segments, samples=samples
    )


YES, NO = Event("yes", 2.0, 2.5), Event("no", 15.0, 18.0)


@pytest.mark.parametrize(
    ("start", "inside", "label"),
    [
        (0, 1.0, "quiet"),
        (10, 1.0, "quiet"),  # the window ends at sample 20, where the event starts
        (11, 1.0, None),  # the window holds one sample of the event's five
        (14, 1.0, None),  # the window holds four of five
        (15, 1.0, "yes"),
        (20, 1.0, "yes"),
        (21, 1.0, None),
        (24, 1.0, None),
        (25, 1.0, "quiet"),
        (12, 0.5, None),  # the window holds two of five, less than the share ``inside``
        (13, 0.5, "yes"),  # the window holds three of five
        (22, 0.5, "yes"),
        (23, 0.5, None),
        (114, 1.0, "quiet"),  # six samples are quiet and four speech
        (116, 1.0, "speech"),
        (149, 1.0, None),
        (150, 1.0, "no"),  # the event is longer than the window and fills it
        (170, 1.0, "no"),
        (171, 1.0, None),
        (180, 1.0, "speech"),
    ],
)
def test_a_label_is_the_one_counted_by_hand(start: int, inside: float, label: str | None) -> None:
    labels = label_windows(make_toy((YES, NO)), np.array([start]), 10, CLASSES, inside, NAMES)
    assert labels.tolist() == [PARTIAL if label is None else CLASSES.index(label)]


def test_a_window_with_events_of_two_classes_is_left_out() -> None:
    two = make_toy((Event("yes", 2.0, 2.3), Event("no", 2.4, 2.7)))
    assert label_windows(two, np.array([19]), 10, CLASSES, 1.0, NAMES).tolist() == [PARTIAL]
    same = make_toy((Event("yes", 2.0, 2.3), Event("yes", 2.4, 2.7)))
    assert label_windows(same, np.array([19, 21]), 10, CLASSES, 1.0, NAMES).tolist() == [0, PARTIAL]


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), inside=st.floats(0.05, 1.0), window_s=st.floats(0.6, 3.0))
def test_no_returned_window_holds_part_of_an_event(seed: int, inside: float, window_s: float) -> None:
    scene = make_scene(draw_sound(short_settings(seed=seed % 3), make_sources()), make_sources())
    windows = draw_windows(scene, window_s, 60, seed, inside=inside)
    again = draw_windows(scene, window_s, 60, seed, inside=inside)
    assert len(windows) == 60 and windows.starts.tolist() == again.starts.tolist()
    assert windows.left_out == again.left_out
    for start, label, samples in zip(windows.starts, windows.labels, windows.read(), strict=True):
        np.testing.assert_array_equal(samples, scene.samples[start : start + windows.length])
        shares = {}
        for event in scene.events:
            first, end = round(event.start_s * RATE), round(event.end_s * RATE)
            overlap = min(end, start + windows.length) - max(first, start)
            if overlap > 0:
                shares[event.label] = overlap / (end - first)
        name = windows.classes[label]
        assert (name in scene.classes) == bool(shares)
        assert all(share >= inside - 1e-9 and label == name for label, share in shares.items())
    assert sum(windows.classes[label] in scene.classes for label in windows.labels) == 30


def test_every_event_is_drawn_equally_often_at_different_offsets() -> None:
    scene = make_scene(draw_scene(short_settings(), make_sources()), make_sources())
    windows = draw_windows(scene, 1.0, 40, seed=1, positive_share=1.0)
    numbers = [
        number
        for start in windows.starts
        for number, event in enumerate(scene.events)
        if start <= event.start_s * RATE + 1e-6 and event.end_s * RATE <= start + windows.length + 1e-6
    ]
    assert sorted(numbers) == sorted(list(range(20)) * 2)
    assert len(set(windows.starts.tolist())) == 40


def test_negative_classes_are_those_of_the_recipe() -> None:
    scene = make_toy((YES, NO))
    windows = draw_windows(
        scene,
        1.0,
        20,
        seed=0,
        negatives={"quiet": "_silence_", "speech": "_unknown_"},
        classes=("_silence_", "_unknown_", "yes", "no"),
    )
    names = {windows.classes[label] for label in windows.labels}
    assert windows.classes == ("_silence_", "_unknown_", "yes", "no")
    assert names == {"_silence_", "_unknown_", "yes", "no"}


def test_hard_negatives_lie_where_the_network_was_wrong_and_touch_no_event() -> None:
    scene = make_toy((YES, NO))
    windows = mine_windows(scene, [1.0, 2.3, 5.0, 0.5, 14.0], 1.0, seed=0)
    # The window that ends at 2.3 s holds a part of "yes", and the window that ends at 0.5 s starts before the scene.
    assert windows.starts.tolist() == [0, 40, 130]
    assert windows.left_out == 2
    assert [windows.classes[label] for label in windows.labels] == ["quiet", "quiet", "speech"]


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), ends=st.lists(st.floats(-5, 25), max_size=20))
def test_mined_windows_never_overlap_an_event(seed: int, ends: list[float]) -> None:
    scene = make_toy((YES, NO))
    windows = mine_windows(scene, ends, 1.0, seed, copies=3, jitter_s=0.5)
    assert len(windows) + windows.left_out == 3 * len(ends)
    for start in windows.starts:
        assert 0 <= start <= 190
        assert all(start + 10 <= first or start >= end for first, end in ((20, 25), (150, 180)))


def test_no_windows_are_read_as_an_empty_array() -> None:
    windows = mine_windows(make_toy((YES,)), [], 1.0, seed=0)
    assert windows.read().shape == (0, 10) and len(windows) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window_s": 21.0}, "scene 'toy': a window of 21 s; wanted: up to its 20 s"),
        ({"window_s": 0.01}, "a window of 0.01 s"),
        ({"inside": 0.0}, "inside is 0.0"),
        ({"positive_share": 1.5}, "positive_share 1.5"),
        ({"negatives": {"quiet": "_silence_"}}, "negatives: unknown background 'speech'"),
        ({"classes": ("yes", "quiet", "speech")}, "unknown class 'no'"),
        ({"window_s": 20.0, "positive_share": 0.0}, "too few windows of 20 s without an event; 5 are missing"),
    ],
)
def test_bad_arguments_of_windows_give_an_error_of_one_line(changes: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"window_s": 1.0, "count": 5, "seed": 0} | changes
    with pytest.raises(UserError) as caught:
        draw_windows(make_toy((YES, NO)), **arguments)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_a_scene_without_events_has_no_positive_windows() -> None:
    with pytest.raises(UserError, match="scene 'toy' holds no events to draw windows of"):
        draw_windows(make_toy(()), 1.0, 5, seed=0)
    with pytest.raises(UserError, match="ends_s holds a value that is not a time"):
        mine_windows(make_toy(()), [float("nan")], 1.0, seed=0)
