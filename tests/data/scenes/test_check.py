"""Tests of checks of scenes (labelled streams): disjoint splits, valid labels, and enough hours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.data.scenes import Outline, check_scenes, draw_scene, outline_spec
from gatesearch.errors import DataError, UserError
from gatesearch.metrics.streams.events import Background, Event
from tests.data.scenes.clips import make_sources, short_settings

GOOD = Outline(
    name="kitchen",
    rate=16000.0,
    length=16000 * 3600,
    classes=("yes", "no"),
    events=(Event("yes", 1.0, 1.5), Event("no", 3.0, 3.5)),
    segments=(Background("quiet", 0.0, 3600.0),),
    split="test",
    recordings=frozenset({"kitchen.wav"}),
    speakers=frozenset({"ann"}),
    digests={"abc": "words/yes/1.wav"},
)
OTHER = replace(
    GOOD, name="car", split="train", recordings=frozenset({"car.wav"}), speakers=frozenset({"bob"}), digests={}
)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_drawn_splits_share_no_recording_and_no_speaker(seed: int) -> None:
    outlines = [
        outline_spec(draw_scene(short_settings(split=split, seed=seed), make_sources(split)))
        for split in ("train", "validation", "test")
    ]
    check_scenes(outlines, classes=("yes", "no"))
    for first in outlines:
        assert first.recordings and first.speakers and first.digests
        for second in outlines:
            if first is not second:
                assert not first.recordings & second.recordings and not first.speakers & second.speakers


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no events": ({"events": ()}, "scene 'kitchen': holds no events"),
    "unknown class": ({"events": (Event("yess", 1, 2),)}, "unknown class 'yess'; nearest: 'yes' (choices: yes, no)"),
    "after the end": (
        {"events": (Event("yes", 3599.0, 3600.5),)},
        "event 'yes' at 3599 to 3600.5 s lies outside of its 3600 s",
    ),
    "before the start": ({"events": (Event("yes", -0.5, 1.0),)}, "at -0.5 to 1 s lies outside"),
    "a point": ({"events": (Event("yes", 1.0, 1.0),)}, "has no length"),
    "overlap": (
        {"events": (Event("no", 1.4, 2.0), Event("yes", 1.0, 1.5))},
        "event 'no' starts at 1.4 s, before 'yes' ends at 1.5 s",
    ),
    "background": ({"segments": (Background("quiet", 0.0, 4000.0),)}, "background 'quiet' at 0 to 4000 s lies outside"),
    "rate": ({"rate": 8000.0}, "scene 'car' is at 16000 Hz and scene 'kitchen' at 8000 Hz; make them at one rate"),
    "recording": ({"recordings": frozenset({"car.wav"})}, "share the recording 'car.wav'"),
    "speaker": ({"speakers": frozenset({"ann", "bob"})}, "share the speaker 'bob'"),
}


@pytest.mark.parametrize("case", BAD)
def test_scenes_that_would_give_wrong_figures_give_an_error_of_one_line(case: str) -> None:
    changes, message = BAD[case]
    check_scenes([OTHER, GOOD])
    with pytest.raises(UserError) as caught:
        check_scenes([OTHER, replace(GOOD, **changes)])
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_copies_of_a_clip_under_two_names_are_refused_in_two_splits() -> None:
    copy = replace(OTHER, digests={"abc": "other/no/9.wav"})
    with pytest.raises(DataError, match=r"share sound: 'other/no/9.wav' and 'words/yes/1.wav' are copies"):
        check_scenes([copy, GOOD])
    check_scenes([replace(copy, split="test"), GOOD])


def test_two_scenes_of_one_split_may_share_a_speaker() -> None:
    check_scenes([GOOD, replace(GOOD, name="again")])


@pytest.mark.parametrize(("fa_per_hour", "fits"), [(3.0, True), (2.9, False), (1.0, False), (12.0, True)])
def test_a_scene_too_short_for_a_claim_says_how_much_it_can_claim(fa_per_hour: float, fits: bool) -> None:
    scenes = [replace(OTHER, length=16000), GOOD]  # the training scene makes no claim
    scenes[0] = replace(scenes[0], events=(Event("yes", 0.1, 0.5),), segments=())
    if fits:
        check_scenes(scenes, fa_per_hour=fa_per_hour)
        return
    with pytest.raises(DataError) as caught:
        check_scenes(scenes, fa_per_hour=fa_per_hour)
    assert f"test: 1 hours are too short for a claim of {fa_per_hour:g} false accepts an hour" in str(caught.value)
    assert f"the rate is below 3 (3 / hours, at 95 %); take {3 / fa_per_hour:.3g} hours or more" in str(caught.value)


def test_no_scene_is_long_enough_for_a_claim_of_no_false_accept() -> None:
    with pytest.raises(DataError, match=r"claim of 0 false accepts an hour.*no length is enough"):
        check_scenes([GOOD], fa_per_hour=0.0)


def test_hours_of_a_split_add_up_for_a_claim() -> None:
    check_scenes([GOOD, replace(GOOD, name="again")], fa_per_hour=1.5)


def test_no_scenes_are_refused() -> None:
    with pytest.raises(DataError, match="there are none to check"):
        check_scenes([])


def test_copies_without_a_split_are_refused_because_they_may_be_in_two() -> None:
    first, second = replace(OTHER, split=None, digests={"abc": "a.wav"}), replace(GOOD, split=None)
    with pytest.raises(DataError, match=r"scenes 'car' and 'kitchen' share sound: 'a.wav' and 'words/yes/1.wav'"):
        check_scenes([first, second])
    check_scenes([replace(first, digests={}), second])
