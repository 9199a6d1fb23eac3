"""Tests of label tracks, the files that hold the events of a recording: Audacity's labels, or CSV."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatesearch._lib import console
from gatesearch.data.scenes import check_scenes, read_recording
from gatesearch.data.scenes.sources import KINDS
from gatesearch.errors import UserError

RATE = 8000


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "kitchen.wav"
    wave = np.random.default_rng(0).normal(0, 1000, 10 * RATE).astype(np.int16)
    soundfile.write(path, wave, RATE, subtype="PCM_16")
    return path


def write_track(recording: Path, text: str, suffix: str = ".txt") -> Path:
    path = recording.with_suffix(suffix)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".txt", "1.000000\t1.500000\tyes\n4.250000\t5.000000\they robin\n"),
        (".txt", "﻿1.0\t1.5\tyes\r\n\\\t0.0\t3000.0\r\n\r\n4.25\t5\they robin\r\n"),
        (".csv", 'start,end,label\n4.25,5,"hey robin"\n1.0,1.5,yes\n'),
        (".csv", "1.0, 1.5, yes\n4.25, 5.0, hey robin"),
    ],
)
def test_a_label_track_of_audacity_or_csv_is_read(recording: Path, suffix: str, text: str) -> None:
    write_track(recording, text, suffix)
    scene = read_recording(recording, split="test")
    assert [(event.label, event.start_s, event.end_s) for event in scene.events] == [
        ("yes", 1.0, 1.5),
        ("hey robin", 4.25, 5.0),
    ]
    assert scene.classes == ("hey robin", "yes") and scene.seconds == 10.0 and scene.name == "kitchen"
    check_scenes([scene])


def test_labels_of_backgrounds_become_segments(recording: Path) -> None:
    write_track(recording, "0\t6\tspeech\n1\t2\tyes\n6\t10\tquiet\n7\t8\tyes\n")
    scene = read_recording(recording)
    assert [(segment.kind, segment.start_s, segment.end_s) for segment in scene.segments] == [
        ("speech", 0.0, 6.0),
        ("quiet", 6.0, 10.0),
    ]
    assert [event.background for event in scene.events] == ["speech", "quiet"]


def test_what_no_label_of_background_covers_is_a_kind_of_its_own(recording: Path) -> None:
    write_track(recording, "1\t2\tyes\n3\t5\tspeech\n4\t4.5\tyes\n")
    scene = read_recording(recording)
    assert [(segment.kind, segment.start_s, segment.end_s) for segment in scene.segments] == [
        ("recording", 0.0, 3.0),
        ("speech", 3.0, 5.0),
        ("recording", 5.0, 10.0),
    ]
    assert [event.background for event in scene.events] == ["recording", "speech"]


@pytest.mark.parametrize("rate", [4000, 16000, 11025])
def test_a_recording_is_resampled_and_labels_stay_in_seconds(recording: Path, rate: int) -> None:
    write_track(recording, "9.5\t10.0004\tyes\n")
    with console.collect_warnings() as lines:
        scene = read_recording(recording, rate)
    assert scene.length == 10 * rate and scene.events[0].end_s == 10.0
    assert bool(lines) == (rate > RATE)


BAD = {
    "1.0\t11.0\tyes\n": "kitchen.txt:1: 'yes' lies at 1 to 11 s; the recording has 10 s",
    "1\t2\tyes\n1.5\t3\tno\n": "kitchen.txt:2: 'no' starts at 1.5 s, and 'yes' of line 1 ends at 2 s; events may not "
    "overlap",
    "1\t2\tyess\n": "kitchen.txt:1: unknown class 'yess'; nearest: 'yes'",
    "1,5\t2,0\tyes\n": "kitchen.txt:1: '1,5' is no time in seconds; write 1.5",
    "2\t1\tyes\n": "kitchen.txt:1: 'yes' starts at 2 s and ends at 1 s",
    "1\t1\tyes\n": "kitchen.txt:1: 'yes' is a point at 1 s; wanted: its start and its end",
    "1\t2\t\n": "the label from 1 to 2 s has no text",
    "1\t2\n": "'1,2' is no label; wanted: start, end, label, with tabs or commas between",
    "-1\t2\tyes\n": "'-1' is no time in the recording",
    "nan\t2\tyes\n": "'nan' is no time in the recording",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_label_gives_an_error_of_one_line_that_names_its_line(recording: Path, text: str) -> None:
    write_track(recording, text)
    with pytest.raises(UserError) as caught:
        read_recording(recording, classes=("yes", "no"))
    assert BAD[text] in str(caught.value)


@st.composite
def spellings(draw: st.DrawFn, names: tuple[str, ...]) -> tuple[str, str]:
    """Draw a name, and another spelling of it."""
    name = draw(st.sampled_from(names))
    letters = [draw(st.sampled_from([each.upper(), each])) for each in name]
    text = "".join(letters).replace("_", draw(st.sampled_from(["-", " ", "", "_"])))
    return name, text + draw(st.sampled_from(["", ".", "!", "s"] if name in KINDS else ["", ".", "!"]))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pair=spellings(KINDS))
def test_a_label_that_is_nearly_a_kind_of_background_is_refused(recording: Path, pair: tuple[str, str]) -> None:
    kind, text = pair
    write_track(recording, f"1\t2\tyes\n3\t4\t{text}\n")
    if text == kind:
        assert len(read_recording(recording).events) == 1
        return
    with pytest.raises(UserError) as caught:
        read_recording(recording)
    assert f"kitchen.txt:2: {text!r} is spelled nearly as {kind!r}; write {kind!r} for background" in str(caught.value)
    assert read_recording(recording, classes=("yes", text)).events[1].label == text


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pair=spellings(("yes", "hey robin", "lights", "light")))
def test_two_spellings_of_one_event_are_refused(recording: Path, pair: tuple[str, str]) -> None:
    name, text = pair
    write_track(recording, f"1\t2\t{name}\n3\t4\t{text}\n5\t6\tlight\n")
    if text == name:
        assert [event.label for event in read_recording(recording).events] == [name, name, "light"]
        return
    with pytest.raises(
        UserError, match=r"kitchen\.txt:\d: '.*' is spelled nearly as '.*'; write '.*', or another name"
    ):
        read_recording(recording)


@pytest.mark.parametrize("text", ["background", "Background", "recording"])
def test_the_kinds_of_what_no_label_covers_are_no_events(recording: Path, text: str) -> None:
    write_track(recording, f"1\t2\t{text}\n3\t4\tyes\n")
    with pytest.raises(UserError, match=rf"kitchen\.txt:1: '{text}' is the name of what no label covers"):
        read_recording(recording)


def test_a_track_that_is_missing_doubled_or_no_text_gives_an_error_of_one_line(recording: Path) -> None:
    with pytest.raises(UserError, match=r"no label track kitchen\.txt or kitchen\.csv beside it"):
        read_recording(recording)
    write_track(recording, "1\t2\tyes\n")
    write_track(recording, "1,2,yes\n", ".csv")
    with pytest.raises(UserError, match=r"both kitchen\.txt and kitchen\.csv are beside it"):
        read_recording(recording)
    with pytest.raises(UserError, match="no such label track"):
        read_recording(recording, track=recording.with_name("absent.txt"))
    recording.with_suffix(".txt").write_bytes(b"1\t2\tyes\n3\t4\t\xff\xfe\n")
    with pytest.raises(UserError, match=r"kitchen\.txt:2: is not UTF-8"):
        read_recording(recording, track=recording.with_suffix(".txt"))


def test_an_empty_track_is_a_scene_without_events(recording: Path) -> None:
    write_track(recording, "")
    with pytest.raises(UserError, match="scene 'kitchen': holds no events"):
        check_scenes([read_recording(recording)])
