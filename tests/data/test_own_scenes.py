"""Tests of data sets that a program builds from scenes of its own: each fault is one line, each label is right."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.data.dataset_checks import check_dataset
from gatesearch.data.scenes import Scene, draw_windows
from gatesearch.data.stream_loader import from_scenes, load
from gatesearch.errors import UserError
from gatesearch.metrics.streams.events import Background, Event

RATE = 100
SECONDS = 40
EVENTS = tuple(Event("yes", start, start + 0.4) for start in range(3, SECONDS - 2, 5))


def make_scene(seed: int, **changes: Any) -> Scene:
    """Return a scene of noise with an event each five seconds."""
    samples = np.random.default_rng(seed).integers(-300, 300, RATE * SECONDS).astype(np.int16)
    fields = {"name": f"scene{seed}", "rate": RATE, "length": len(samples), "classes": ("yes",), "events": EVENTS}
    return Scene(**fields | {"samples": samples} | changes)


def build(changes: dict[str, Any] | None = None, split: str = "test", **settings: Any):
    """Return the data set of three scenes, one of them with changes."""
    scenes = {name: make_scene(seed) for seed, name in enumerate(("train", "validation", "test"))}
    scenes[split] = replace(scenes[split], **changes or {})
    return from_scenes(scenes, name="own", source="made", synthetic=True, **{"windows": 50, "hop_s": 0.1} | settings)


def noise(dtype: str, *shape: int) -> np.ndarray:
    return np.random.default_rng(9).normal(0, 0.1, (RATE * SECONDS, *shape)).astype(dtype)


SCENE_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "overlap": ({"events": (Event("yes", 3, 5), Event("yes", 4, 6))}, "'yes' starts at 4 s, before 'yes' ends at 5 s"),
    "after the end": ({"events": (*EVENTS, Event("yes", 50, 51))}, "event 'yes' at 50 to 51 s lies outside of its 40"),
    "before the start": ({"events": (Event("yes", -3, -1), *EVENTS)}, "event 'yes' at -3 to -1 s lies outside"),
    "a point": ({"events": (Event("yes", 3, 3),)}, "event 'yes' at 3 to 3 s has no length"),
    "no events": ({"events": ()}, "holds no events; wanted: one or more to detect"),
    "unknown class": ({"events": (Event("yess", 3, 4),)}, "unknown class 'yess'"),
    "class and kind": (
        {"segments": (Background("yes", 0, 40),)},
        "'yes' is a class of events and a kind of background",
    ),
    "background": ({"segments": (Background("speech", 0, 90),)}, "background 'speech' at 0 to 90 s lies outside"),
    "rate": ({"rate": 50.0}, "at 50 Hz; make them at one rate"),
    "same sound": ({"samples": make_scene(0).samples}, "share sound: 'scene0' and 'scene"),
    "silent": ({"samples": np.zeros(RATE * SECONDS, np.int16)}, "is silent for all of its 40 s; wanted: a signal"),
    "constant": ({"samples": np.full(RATE * SECONDS, -7, np.int16)}, "is constant for all of its 40 s; wanted: a si"),
    "other scale": ({"samples": noise("float32")}, "whose full scales differ; wanted: one type"),
    "two channels": ({"samples": noise("float32", 2).astype(np.int16)}, "has the shape [100, 2]"),
}
SETTING_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no hop": ({"hop_s": 0.0}, "hop_s is 0; wanted: above 0, at most 1"),
    "broken hop": ({"hop_s": 0.045}, "hop_s is 0.045, which is 4.5 samples at 100 Hz; nearest: 0.04"),
    "tiny hop": ({"hop_s": 1e-9}, "which is 1e-07 samples at 100 Hz; nearest: 0.01"),
    "no negatives": ({"positive_share": 1.0}, "all 50 windows of the train split have an event; wanted: some without"),
    "few windows": ({"windows": 2}, "windows is 2; wanted: a whole number from 10"),
    "half windows": ({"windows": 20.5}, "windows is 20.5; wanted: a whole number from 10"),
    "no window": ({"window_s": float("nan")}, "a window of nan s; wanted: up to its 40 s"),
    "long window": ({"window_s": 41.0}, "a window of 41 s; wanted: up to its 40 s"),
}


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("case", SCENE_FAULTS)
def test_a_scene_that_would_give_a_wrong_figure_gives_an_error_of_one_line(case: str, split: str) -> None:
    changes, message = SCENE_FAULTS[case]
    with pytest.raises(UserError) as caught:
        build(changes, split)
    assert message in str(caught.value) and "\n" not in str(caught.value)


KINDS = ("quiet", "environment", "speech", "music")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sets(st.sampled_from(KINDS), min_size=1), min_size=3, max_size=3))
def test_a_scene_may_lack_a_kind_of_background(kinds: list[set[str]]) -> None:
    def split_evenly(names: list[str]) -> tuple[Background, ...]:
        length = SECONDS / len(names)
        return tuple(Background(name, k * length, (k + 1) * length) for k, name in enumerate(names))

    scenes = {
        split: make_scene(seed, segments=split_evenly(sorted(names)))
        for seed, (split, names) in enumerate(zip(("train", "validation", "test"), kinds, strict=True))
    }
    own = from_scenes(scenes, name="own", source="made", synthetic=True, windows=50, hop_s=0.1)
    check_dataset(own, warns=False)
    assert set(own.kind_names) == {"positive", *set.union(*kinds)}
    for split, names in zip((own.train, own.validation, own.test), kinds, strict=True):
        present = {own.kind_names[kind] for kind in own.kinds(split.labels).tolist()}
        assert present <= {"positive", *names}


UNKNOWN_KINDS = st.text("abcdefghij", min_size=1, max_size=9)


@given(UNKNOWN_KINDS, st.sampled_from(["shares", "kind of a source"]))
def test_an_unknown_kind_is_named_with_the_valid_ones(kind: str, where: str) -> None:
    with pytest.raises(UserError) as caught:
        load(**{"shares": {kind: 1.0}} if where == "shares" else {"sources": [{"kind": kind}]})
    line = str(caught.value)
    place = "data.shares: " if where == "shares" else "data.sources.0: "
    assert line.startswith(place) and repr(kind) in line and "\n" not in line
    assert ("environment" if where == "shares" else "synthetic_speech") in line or "nearest" in line


def test_empty_sources_are_refused_in_one_line() -> None:
    with pytest.raises(UserError, match=r"^data\.sources: \[\] has too few entries; wanted: 1 or more$"):
        load(sources=[])


def test_a_recording_in_two_splits_is_refused() -> None:
    recordings = {"recordings": frozenset({"a.wav"})}
    scenes = {name: make_scene(seed, **recordings) for seed, name in enumerate(("train", "validation", "test"))}
    with pytest.raises(UserError, match=r"'scene0' \(train\) and 'scene1' \(validation\) share the recording 'a\.wav'"):
        from_scenes(scenes, name="own", source="made", synthetic=True, windows=50)


@pytest.mark.parametrize("case", SETTING_FAULTS)
def test_a_wrong_setting_gives_an_error_of_one_line(case: str) -> None:
    changes, message = SETTING_FAULTS[case]
    with pytest.raises(UserError) as caught:
        build(**changes)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("names", [("train",), ("train", "validation"), ("train", "validation", "test", "tset")])
def test_other_splits_than_the_three_give_an_error_of_one_line(names: tuple[str, ...]) -> None:
    scenes = {name: make_scene(seed) for seed, name in enumerate(names)}
    with pytest.raises(UserError, match="wanted: one each for train, validation, test"):
        from_scenes(scenes, name="own", source="made", synthetic=True, windows=50)


def test_samples_that_are_not_finite_are_refused() -> None:
    scenes = {}
    for seed, name in enumerate(("train", "validation", "test")):
        samples = make_scene(seed).samples.astype(np.float32) / 32768
        samples[1234] = np.nan if name == "validation" else 0.0
        scenes[name] = make_scene(seed, samples=samples)
    with pytest.raises(UserError, match=r"scene 'scene1': sample 1234 is not finite, at 12\.34 s"):
        from_scenes(scenes, name="own", source="made", synthetic=True, windows=50, hop_s=0.1)


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(len(EVENTS))))
def test_events_in_any_order_give_the_same_windows(order: list[int]) -> None:
    shuffled = make_scene(0, events=tuple(EVENTS[index] for index in order))
    expected, windows = (draw_windows(scene, 1.0, 60, seed=1) for scene in (make_scene(0), shuffled))
    assert windows.starts.tolist() == expected.starts.tolist() and windows.labels.tolist() == expected.labels.tolist()


@settings(max_examples=40, deadline=None)
@given(bounds=st.lists(st.integers(0, SECONDS), min_size=2, max_size=8, unique=True), offset=st.integers(0, 1))
def test_a_window_mostly_outside_labelled_stretches_has_the_kind_background(bounds: list[int], offset: int) -> None:
    bounds.sort()
    pairs = list(pairwise(bounds))[offset::2]
    scene = make_scene(0, segments=tuple(Background("speech", start, end) for start, end in pairs))
    windows = draw_windows(scene, 1.0, 80, seed=0, positive_share=0.0)
    for start, label in zip(windows.starts.tolist(), windows.labels.tolist(), strict=True):
        covered = sum(max(0, min(end * RATE, start + RATE) - max(first * RATE, start)) for first, end in pairs)
        if covered * 2 != RATE:
            assert windows.classes[label] == ("speech" if covered * 2 > RATE else "background")
