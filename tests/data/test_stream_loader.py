"""Tests of scenes of a wake word, made from a typed phrase, recordings, or a recipe's sources."""

import wave
from pathlib import Path

import numpy as np
import pytest

from gatesearch.data import stream_loader
from gatesearch.data.stream_loader import load
from gatesearch.errors import UserError

RATE = 16000
SHORT = {
    "hours": {"train": 0.03, "validation": 0.02, "test": 0.02},
    "windows": 40,
    "events_per_hour": 200.0,
    "segment_s": [4, 9],
}


def write_words(root: Path, words: tuple[str, ...], speakers: int = 12) -> Path:
    """Write one recording of each word by each speaker: a burst of noise."""
    rng = np.random.default_rng(0)
    for word in words:
        (root / word).mkdir(parents=True)
        for speaker in range(speakers):
            samples = rng.normal(0, 20, RATE)
            samples[4000:9000] += rng.normal(0, 4000, 5000)
            with wave.open(str(root / word / f"{speaker:08x}_nohash_0.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(RATE)
                file.writeframes(samples.astype(np.int16).tobytes())
    return root


def test_a_typed_phrase_is_spoken_and_its_near_phrases_are_no_events() -> None:
    pytest.importorskip("espeakng_loader")
    sources = [{"kind": "synthetic_speech", "events": ["stop"]}]
    data = load(sources, phrase="hey robin", **SHORT)
    assert data.classes[0] == "hey robin" and data.positive[0] and not any(data.positive[1:])
    assert "near_word" in data.classes
    assert data.synthetic
    assert {event.label for event in data.streams["test"].events} == {"hey robin"}


@pytest.mark.parametrize("others", [("go", "left"), ()])
def test_recordings_of_a_word_train_against_the_other_folders_or_synthetic_speech(tmp_path: Path, others) -> None:
    pytest.importorskip("espeakng_loader")
    root = write_words(tmp_path / "words", ("robin", *others), speakers=40)
    data = load(None, root=str(root), positives=["robin"], **SHORT)
    assert data.classes[0] == "robin" and "speech" in data.classes
    assert ("near_word" in data.classes) == (not others)
    assert data.synthetic == (not others)  # generated noise behind recordings does not make them synthetic
    assert "noise (generated)" in data.source
    assert {event.label for event in data.streams["validation"].events} == {"robin"}


def test_the_wake_words_are_the_events_of_the_recipe_or_else_the_only_folder(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    root = write_words(tmp_path / "words", ("stop", "go"), speakers=40)
    sources = [{"kind": "synthetic_speech", "events": ["stop"]}]
    assert load(sources, root=str(root), **SHORT).classes[0] == "stop"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"phrase": ""}, "data.phrase: ''; wanted: a phrase to speak"),
        ({"phrase": []}, "data.phrase: []; wanted"),
        ({"phrase": "noise"}, "data.phrase: 'noise' is also a kind of background; add a word: 'hey noise'"),
        ({"phrase": ["robin", "Near word"]}, "data.phrase: 'Near word' is also a kind of background"),
        ({"phrase": "hey robin", "root": "{root}"}, "data.phrase: a typed phrase has no recordings"),
        ({"positives": ["go"]}, "data.positives: names folders under data.root, and there is none"),
        ({"root": "{root}", "positives": ["gow"]}, "data.positives: unknown folder 'gow'; nearest: 'go'"),
        ({"root": "{root}"}, "data.positives: wanted: the words to wake for; folders of"),
        ({"window": 3}, "data: unknown key 'window'; nearest: 'windows'"),
        ({"qqq": 3}, "data: unknown key 'qqq'; choices: event_db, events"),
        (
            {"sources": [{"kind": "synthetic_noise", "clip": 3}]},
            "data.sources.0.clip: unknown key 'clip'; nearest: 'cl",
        ),
        ({"events_per_hour": 0}, "data.events_per_hour: 0: should be greater than 0"),
        (
            {"events_per_hour": {"train": 900.0, "tests": 300.0}},
            "data.events_per_hour: {'train': 900.0, 'tests': 300.0}; wanted: one number, or one each for train, vali",
        ),
        (
            {"events_per_hour": {"train": 900.0, "validation": 0, "test": 300.0}},
            "data.events_per_hour: 0: should be greater than 0",
        ),
        ({"hop_ms": 0}, "data.hop_ms: 0; wanted: a number above 0, at most 1000"),
        ({"hop_ms": -20.0}, "data.hop_ms: -20.0; wanted: a number above 0, at most 1000"),
        ({"hop_ms": 300, "seconds": 0.25}, "data.hop_ms: 300; wanted: a number above 0, at most 250"),
        ({"hop_ms": 33.3333}, "data.hop_ms: 33.3333 is 533.333 samples at 16000 Hz; nearest: 33.3125"),
        ({"seconds": 0.99999}, "data.seconds: 0.99999 is 15999.8 samples at 16000 Hz; nearest: 1"),
        ({"seconds": float("nan")}, "data.seconds: nan; wanted: a number above 0"),
        ({"inside": 0}, "data.inside: 0; wanted: a number above 0, at most 1"),
        ({"positive_share": 1.0}, "data.positive_share: 1.0; wanted: a number above 0, below 1"),
        ({"positive_share": True}, "data.positive_share: True; wanted: a number"),
        ({"shares": {"quiet": 0.5}}, "data.shares: they add up to 0.5; wanted: 1"),
        ({"hours": {"train": 1.0, "validation": 1.0, "test": float("nan")}}, "data.hours.test: nan; wanted: a number"),
        ({"hours": {"train": 0, "validation": 1.0, "test": 1.0}}, "data.hours.train: 0; wanted: a number above 0"),
        ({"hours": {"train": 1.0, "validation": True, "test": 1.0}}, "data.hours.validation: True; wanted: a number"),
    ],
)
def test_impossible_wake_words_give_an_error_of_one_line(tmp_path: Path, changes, message) -> None:
    root = str(write_words(tmp_path / "words", ("go", "left"), speakers=3))
    own = {key: root if value == "{root}" else value for key, value in changes.items()}
    with pytest.raises(UserError) as error:
        load(**{**SHORT, **own})
    assert message in str(error.value) and "\n" not in str(error.value)


def test_each_split_may_have_its_own_number_of_events_per_hour(tmp_path: Path) -> None:
    root = str(write_words(tmp_path / "words", ("go", "left"), speakers=40))
    density = {"train": 400.0, "validation": 200.0, "test": 100.0}
    data = load(None, root=root, positives=["go"], **{**SHORT, "events_per_hour": density})
    counts = {split: len(scene.events) for split, scene in data.streams.items()}
    assert counts == {split: round(density[split] * hours) for split, hours in SHORT["hours"].items()}


def test_a_length_that_is_no_whole_number_of_samples_is_refused_before_a_scene_is_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_loader, "make_scene", lambda *_: pytest.fail("a scene was mixed"))
    root = str(write_words(tmp_path / "words", ("go", "left")))
    sources = [{"kind": "folders", "root": root, "events": ["go"]}, {"kind": "synthetic_noise"}]
    with pytest.raises(UserError, match=r"data\.hop_ms: 33\.3333 is 533\.333 samples"):
        load(sources, hop_ms=33.3333, **SHORT)


def test_the_small_form_of_scenes_has_the_same_shapes_and_classes() -> None:
    """Commands that only price load the small form, which takes seconds."""
    speech = {"kind": "synthetic_speech", "events": ["stop", "go"], "utterances": 12, "sentences": 12}
    sources = [speech, {"kind": "synthetic_noise", "clips": 4}]
    hours = {"train": 0.3, "validation": 0.25, "test": 0.25}
    whole = load(sources, hours=hours, windows=500, seconds=0.8)
    small = load(sources, hours=hours, windows=500, seconds=0.8, only_shapes=True)
    assert sorted(small.classes) == sorted(whole.classes)  # in the order of their first segments
    assert small.train.inputs.shape[1:] == whole.train.inputs.shape[1:]
    assert len(small.train) < len(whole.train)
    assert len(small.streams["train"].samples) < len(whole.streams["train"].samples)
