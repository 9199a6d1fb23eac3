"""Tests of scenes (labelled streams) of motion and of image frames."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatesearch._lib import console
from gatesearch.data import har
from gatesearch.data.scenes import (
    SceneSettings,
    check_scenes,
    draw_scene,
    draw_windows,
    load_sources,
    make_scene,
    outline_spec,
    reload_sources,
)
from gatesearch.errors import UserError

SPLITS = ("train", "validation", "test")
REAL = Path(os.environ.get("GATESEARCH_HAR_STREAM") or "har_stream.npz")
CLASSES = ("SEATED", "WALKING", "TURNING")


@pytest.fixture
def streams(tmp_path: Path) -> Path:
    """An archive of sixteen streams of eight subjects at 10 Hz, with labels that change every 20 samples.

    Each sample has two values: the number of its stream, and its own number in the stream.
    """
    path = tmp_path / "streams.npz"
    length = 100
    x = np.stack([np.repeat(np.arange(16), length), np.tile(np.arange(length), 16)], 1).astype(np.float16)
    np.savez(
        path,
        x=x,
        label=np.tile(np.arange(length) // 20 % 3, 16).astype(np.uint8),
        offsets=np.arange(17) * length,
        subject=np.arange(16) // 2 + 1,
        device=np.tile(["sp", "sw"], 8),
        classes=np.array(CLASSES),
        sample_rate=10,
    )
    return path


def motion_settings(path: Path, split: str = "train", **changes: Any) -> SceneSettings:
    own = {key: changes.pop(key) for key in ("device", "validation_subjects", "test_subjects") if key in changes}
    source = {"kind": "motion", "root": str(path), "events": ["WALKING"], "validation_subjects": 2} | own
    return SceneSettings.model_validate({"split": split, "hours": 0.01, "sources": [source]} | changes)


def test_streams_of_motion_follow_one_another_with_their_labels(streams: Path) -> None:
    settings = motion_settings(streams)
    spec = draw_scene(settings, load_sources(settings))
    scene = make_scene(spec, reload_sources(spec))
    assert scene.samples.dtype == np.float32 and scene.samples.shape == (360, 2) and scene.rate == 10
    np.testing.assert_array_equal(scene.samples[:, 1], np.arange(360) % 100)
    for event in scene.events:
        inside = scene.samples[round(event.start_s * 10) : round(event.end_s * 10), 1]
        assert (inside // 20 % 3 == 1).all() and event.label == "WALKING"
    total = sum(event.end_s - event.start_s for event in scene.events)
    total += sum(segment.end_s - segment.start_s for segment in scene.segments)
    assert total == pytest.approx(36.0)
    assert {segment.kind for segment in scene.segments} == {"SEATED", "TURNING"}


def test_no_subject_moves_in_two_splits(streams: Path) -> None:
    outlines = []
    for split in SPLITS:
        settings = motion_settings(streams, split, hours=1.0)
        with console.collect_warnings():
            outlines.append(outline_spec(draw_scene(settings, load_sources(settings))))
    check_scenes(outlines)
    assert [len(each.speakers) for each in outlines] == [4, 2, 2]


def test_windows_of_motion_have_labels(streams: Path) -> None:
    settings = motion_settings(streams)
    scene = make_scene(draw_scene(settings, load_sources(settings)), load_sources(settings))
    windows = draw_windows(scene, 1.0, 20, seed=0)
    assert windows.read([0, 1]).shape == (2, 10, 2)
    for samples, label in zip(windows.read(), windows.labels, strict=True):
        if windows.classes[label] == "WALKING":
            assert (samples[:, 1] // 20 % 3 == 1).all()
        else:
            assert not (samples[:, 1] // 20 % 3 == 1).any()


def test_a_scene_of_motion_ends_where_the_streams_end_and_says_so(streams: Path) -> None:
    settings = motion_settings(streams, "test", hours=1.0, device="sw")
    with console.collect_warnings() as lines:
        spec = draw_scene(settings, load_sources(settings))
    assert spec.samples == 200 and lines == ["hours: 1; the test split holds 0.0056 hours of motion, all used"]


BAD_MOTION: dict[str, tuple[dict[str, Any], str]] = {
    "device": ({"device": "watch"}, "unknown device 'watch'; choices: sp, sw"),
    "rate": ({"sample_rate": 20.0}, "sample_rate: 20; "),
    "subjects": ({"validation_subjects": 6}, "validation_subjects takes 6 of 6 subjects and leaves none"),
    "test": ({"test_subjects": [1, 99]}, "subject 99 is not among 1, 2, 3, 4, 5, 6, 7, 8"),
    "count": ({"events": 5}, "events: 5; the events of motion are its labelled activities: leave it out"),
}


@pytest.mark.parametrize("case", BAD_MOTION)
def test_bad_settings_of_motion_give_an_error_of_one_line(case: str, streams: Path) -> None:
    changes, message = BAD_MOTION[case]
    with pytest.raises(UserError) as caught:
        settings = motion_settings(streams, **changes)
        draw_scene(settings, load_sources(settings))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("x", None, "has no array 'x'"),
        ("x", np.full((1600, 2), np.nan), "wanted: finite samples"),
        ("label", np.full(1600, 7), "label holds 7 to 7; wanted: 0 to 2"),
        ("offsets", np.zeros(17, int), "offsets do not rise"),
        ("sample_rate", np.array(0), "sample_rate is 0"),
    ],
)
def test_a_damaged_archive_of_motion_gives_an_error_of_one_line(
    key: str, value: Any, message: str, streams: Path
) -> None:
    with np.load(streams) as archive:
        arrays = {name: archive[name] for name in archive.files}
    del arrays[key]
    np.savez(streams, **(arrays if value is None else arrays | {key: value}))
    with pytest.raises(UserError) as caught:
        load_sources(motion_settings(streams))
    assert message in str(caught.value)


def frame_settings(**changes: Any) -> SceneSettings:
    source = {"kind": "frames", "data": "digits", "events": ["3"], "run_frames": [2, 4]} | changes.pop("source", {})
    base = {"hours": 0.05, "events": 6, "segment_s": [10, 30], "sources": [source]}
    return SceneSettings.model_validate(base | changes)


def test_frames_of_positive_classes_are_the_events() -> None:
    settings = frame_settings()
    sources = load_sources(settings)
    spec = draw_scene(settings, sources)
    scene = make_scene(spec, reload_sources(spec))
    assert scene.rate == 1.0 and len(scene.samples) == 180 and len(scene.events) == 6
    labels = {clip.name: clip.label or clip.kind for clip in sources.clips}
    inside = np.zeros(180, bool)
    for event in scene.events:
        inside[round(event.start_s) : round(event.end_s)] = True
        assert 2 <= event.end_s - event.start_s <= 4
    for piece in spec.pieces:
        assert (labels[spec.clips[piece.clip].name] == "3") == inside[piece.start]
    np.testing.assert_array_equal(scene.samples, make_scene(spec, sources).samples)


def test_bad_settings_of_frames_give_an_error_of_one_line() -> None:
    for changes, message in (
        ({"source": {"events": ["33"]}}, "unknown class '33'"),
        ({"source": {"events": list("0123456789")}}, "events takes every class"),
        ({"sample_rate": 10000.0}, "are 1,800,000; up to 200,000"),
        ({"events": 100}, "100 events with gaps of 1 s find no room"),
    ):
        with pytest.raises(UserError, match=message):
            settings = frame_settings(**changes)
            draw_scene(settings, load_sources(settings))


def test_motion_beside_another_source_gives_an_error_of_one_line(streams: Path) -> None:
    motion = {"kind": "motion", "root": str(streams), "events": ["WALKING"]}
    settings = SceneSettings.model_validate({"sources": [motion, {"kind": "synthetic_noise"}]})
    with pytest.raises(UserError, match="sources: 2 of them; a scene of motion has one source"):
        load_sources(settings)


@pytest.mark.skipif(not REAL.is_file(), reason=f"no streams of motion at {REAL}; set GATESEARCH_HAR_STREAM")
def test_recorded_streams_have_the_subjects_of_the_recorded_windows() -> None:
    source = {"kind": "motion", "root": str(REAL), "events": ["WALKING"]}
    outlines = []
    for split in SPLITS:
        settings = SceneSettings.model_validate({"split": split, "hours": 2.0, "sources": [source]})
        with console.collect_warnings():
            outlines.append(outline_spec(draw_scene(settings, load_sources(settings))))
    check_scenes(outlines)
    windows = REAL.with_name(har.FILE)
    if windows.is_file():
        data = har.load(str(windows))
        for outline, split in zip(outlines, SPLITS, strict=True):
            names = {int(name[7:9]) for name in getattr(data, split).names}
            assert {int(speaker.rpartition(" ")[2]) for speaker in outline.speakers} == names
