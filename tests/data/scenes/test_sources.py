"""Tests of sources, which supply the clips of scenes (labelled streams) for disjoint splits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from gatesearch._lib import console
from gatesearch.data import espeak
from gatesearch.data.scenes import (
    SceneSettings,
    SceneSpec,
    check_scenes,
    draw_scene,
    load_sources,
    make_scene,
    outline_spec,
    reload_sources,
)
from gatesearch.data.scenes.music import make_music
from gatesearch.data.scenes.recorded_sound import split_files
from gatesearch.errors import UserError
from tests.data.scenes.clips import make_word
from tests.places import working_in

RATE = 1000
SPLITS = ("train", "validation", "test")
REAL_SPEECH, REAL_ARCHIVE = (os.environ.get(f"GATESEARCH_{name}") for name in ("SPEECH_COMMANDS", "ESC10"))


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """A folder with three words of six speakers, split by lists, and four long noises."""
    root = tmp_path / "words"
    lists: dict[str, list[str]] = {"validation": [], "testing": []}
    for index, word in enumerate(("yes", "no", "bird")):
        (root / word).mkdir(parents=True)
        for speaker in range(6):
            name = f"{word}/s{speaker}_nohash_0.wav"
            soundfile.write(root / name, make_word([index, speaker]), RATE, subtype="PCM_16")
            split = ("train", "train", "train", "train", "validation", "testing")[speaker]
            lists.get(split, []).append(name)
    (root / "_background_noise_").mkdir()
    for number in range(4):
        wave = np.random.default_rng(number).normal(0, 500, 5 * RATE).astype(np.int16)
        soundfile.write(root / "_background_noise_" / f"n{number}.wav", wave, RATE, subtype="PCM_16")
    for split, names in lists.items():
        (root / f"{split}_list.txt").write_text("\n".join(names))
    return root


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive with ten clips of two classes in five folds."""
    path = tmp_path / "sounds.npz"
    audio = np.random.default_rng(0).normal(0, 500, (10, 3 * RATE)).astype(np.int16)
    np.savez(
        path,
        audio=audio,
        label=np.arange(10) % 2,
        fold=np.arange(10) // 2 + 1,
        classes=np.array(["rain", "dog"]),
        sample_rate=RATE,
    )
    return path


def settings_of(*sources: dict[str, Any], **changes: Any) -> SceneSettings:
    noise = {"kind": "synthetic_noise", "backgrounds": ["quiet"], "clips": 2, "seconds": 5.0}
    base = {"hours": 0.04, "events": 8, "segment_s": [3, 8], "gap_s": 0.2, "sample_rate": float(RATE)}
    return SceneSettings.model_validate(base | changes | {"sources": [*sources, noise]})


def draw_splits(*sources: dict[str, Any], **changes: Any) -> list[SceneSpec]:
    drawn = [settings_of(*sources, **changes, split=split) for split in SPLITS]
    return [draw_scene(settings, load_sources(settings)) for settings in drawn]


def test_class_folders_and_an_archive_make_three_disjoint_splits(words: Path, archive: Path) -> None:
    specs = draw_splits(
        {"kind": "folders", "root": str(words), "events": ["yes", "no"]},
        {"kind": "archive", "root": str(archive), "backgrounds": {"environment": ["rain"], "noise": ["dog"]}},
    )
    check_scenes([outline_spec(spec) for spec in specs], classes=("yes", "no"))
    for spec, speakers in zip(specs, ({"s0", "s1", "s2", "s3"}, {"s4"}, {"s5"}), strict=True):
        assert {str(clip.speaker).partition(":")[2] for clip in spec.clips if clip.speaker} <= speakers
        kinds = {segment.kind for segment in spec.segments}
        assert kinds == {"quiet", "speech", "noise", "environment"}
        scene = make_scene(spec, reload_sources(spec))
        again = make_scene(spec, reload_sources(spec))
        np.testing.assert_array_equal(scene.samples, again.samples)


def test_folds_one_to_three_train_four_validates_five_tests(words: Path, archive: Path) -> None:
    for split, folds in zip(SPLITS, ({0, 1, 2, 3, 4, 5}, {6, 7}, {8, 9}), strict=True):
        settings = settings_of({"kind": "archive", "root": str(archive)}, split=split)
        clips = [clip for clip in load_sources(settings).clips if clip.source == "archive"]
        assert {int(clip.name.partition("/")[2]) for clip in clips} == folds


def test_a_source_that_lies_elsewhere_is_read_there_and_a_changed_one_is_refused(words: Path, tmp_path: Path) -> None:
    spec = draw_splits({"kind": "folders", "root": str(words), "events": ["yes"]})[0]
    moved = words.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="no folder"):
        make_scene(spec, reload_sources(spec))
    scene = make_scene(spec, reload_sources(spec, {"words": str(moved)}))
    assert len(scene.events) == 8
    with pytest.raises(UserError, match="has no source 'wrods'; it has: words, noise"):
        reload_sources(spec, {"wrods": str(moved)})
    event = next(clip for clip in spec.clips if clip.source == "words")
    soundfile.write(moved / event.name, make_word([99]), RATE, subtype="PCM_16")
    with pytest.raises(UserError, match=f"'{event.name}' has changed"):
        make_scene(spec, reload_sources(spec, {"words": str(moved)}))


def test_recordings_without_speakers_are_split_by_file_with_a_warning(words: Path, tmp_path: Path) -> None:
    for number in range(7):
        wave = np.random.default_rng(number).normal(0, 500, 4 * RATE).astype(np.int16)
        (tmp_path / "orders" / "a").mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "orders" / "a" / f"{number}.wav", wave, RATE, subtype="PCM_16")
    sources = (
        {"kind": "folders", "root": str(words), "events": ["yes"]},
        {"kind": "recordings", "name": "orders", "root": str(tmp_path / "orders"), "background": "speech"},
    )
    with console.collect_warnings() as lines:
        specs = draw_splits(*sources)
    assert lines == ["sources.orders: names no speakers, so that it is split by file; a speaker may be in two splits"]
    check_scenes([outline_spec(spec) for spec in specs])
    files = [{clip.name for clip in spec.clips if clip.source == "orders"} for spec in specs]
    assert all(files) and sum(map(len, files)) == len(set().union(*files)) == 7


@pytest.mark.parametrize("count", [3, 4, 6, 7, 20, 100])
def test_every_split_gets_files_where_there_are_three(count: int) -> None:
    split_of = split_files([f"n{number}.wav" for number in range(count)])
    counts = {split: list(split_of.values()).count(split) for split in SPLITS}
    assert sum(counts.values()) == count and counts["test"] == counts["validation"] == max(1, round(0.15 * count))


def test_generated_noise_replaces_quiet_clips_with_a_warning(words: Path) -> None:
    tree = {"hours": 0.02, "events": 3, "segment_s": [3, 8], "sample_rate": float(RATE)}
    source = {"kind": "folders", "root": str(words), "events": ["yes"]}
    settings = SceneSettings.model_validate(tree | {"sources": [source]})
    with console.collect_warnings() as lines:
        spec = draw_scene(settings, load_sources(settings))
    assert lines == ["the sources hold no quiet background in the train split; generated noise replaces it"]
    assert [source.name for source in spec.sources] == ["words", "room_tone"] or "room_tone" in str(spec.sources)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "class": ({"events": ["yess"]}, "sources.words: unknown class 'yess'; nearest: 'yes'"),
    "background": ({"events": ["yes"], "backgrounds": {"noise": ["birds"]}}, "unknown class 'birds'; nearest: 'bird'"),
    "twice": ({"events": ["yes"], "backgrounds": {"speech": ["yes"]}}, "class 'yes' is named twice"),
    "stars": ({"events": ["yes"], "backgrounds": {"speech": ["*"], "noise": ["*"]}}, "both speech and noise take all"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_classes_of_a_source_give_an_error_of_one_line(case: str, words: Path) -> None:
    changes, message = BAD[case]
    with pytest.raises(UserError) as caught:
        load_sources(settings_of({"kind": "folders", "root": str(words)} | changes))
    assert message in str(caught.value)


def test_names_without_a_speaker_and_crops_of_silence_give_warnings(tmp_path: Path) -> None:
    for folder in ("yes", "_silence_"):
        (tmp_path / "own" / folder).mkdir(parents=True)
        for number in range(40):
            wave = make_word([number, len(folder)])
            soundfile.write(tmp_path / "own" / folder / f"{number}.wav", wave, RATE, subtype="PCM_16")
    source = {"kind": "folders", "root": str(tmp_path / "own"), "events": ["yes"]}
    with console.collect_warnings() as lines:
        specs = draw_splits(source, events=3)
    assert lines == [
        "sources.words: names no speakers, so that it is split by file; a speaker may be in two splits",
        "sources.words: _silence_ is split by file; crops of one recording may be in two splits",
    ]
    check_scenes([outline_spec(spec) for spec in specs])


def test_one_folder_under_two_names_is_still_one(words: Path) -> None:
    train = draw_splits({"kind": "folders", "root": str(words), "events": ["yes"]})[0]
    again = draw_splits({"kind": "folders", "name": "mine", "root": str(words), "events": ["yes"]})[0]
    again = again.model_copy(update={"split": "test", "name": "again"})
    first, second = outline_spec(train), outline_spec(again)
    assert {"words:s0", "words:s1"} & first.speakers & second.speakers
    with pytest.raises(UserError, match="share the recording"):
        check_scenes([first, second])


def test_a_sample_rate_of_sound_that_is_no_whole_number_is_refused(words: Path) -> None:
    with pytest.raises(UserError, match=r"sample_rate: 1000\.5 Hz; sound has a whole number"):
        load_sources(settings_of(sample_rate=1000.5))


def test_missing_folders_give_an_error_of_one_line(tmp_path: Path) -> None:
    for source, message in (
        ({"kind": "folders", "root": str(tmp_path / "no")}, "no folder"),
        ({"kind": "archive", "root": str(tmp_path / "no.npz")}, "no such folder or file"),
        ({"kind": "recordings", "root": str(tmp_path / "no")}, "sources.recordings: no folder"),
        ({"kind": "recordings", "root": str(tmp_path)}, "holds 0 WAV files; wanted: 3 or more, one a split"),
    ):
        with pytest.raises(UserError, match=message):
            load_sources(settings_of(source))


def test_music_is_a_tune_and_not_noise() -> None:
    """Most of the power lies in few bins of the spectrum, and the same random numbers give the same music."""
    waves = [make_music(np.random.default_rng(3), 16000, 16000) for _ in range(2)]
    np.testing.assert_array_equal(waves[0], waves[1])
    spectrum = np.sort(np.abs(np.fft.rfft(waves[0])) ** 2)[::-1]
    assert spectrum[: len(spectrum) // 20].sum() > 0.7 * spectrum.sum()


@pytest.mark.skipif(not espeak.available(), reason="eSpeak NG is not installed: gatesearch[speech]")
def test_synthetic_speech_has_voices_of_its_own_in_each_split(tmp_path: Path) -> None:
    speech = {"kind": "synthetic_speech", "events": ["go", "hey robin"], "utterances": 4, "sentences": 4}
    noise = {"kind": "synthetic_noise", "clips": 2, "seconds": 4.0}
    tree = {"hours": 0.05, "events": 8, "segment_s": [4, 10], "sources": [speech, noise]}
    with working_in(tmp_path):
        specs = []
        for split in SPLITS:
            settings = SceneSettings.model_validate(tree | {"split": split})
            sources = load_sources(settings)
            assert sources.synthetic
            specs.append(draw_scene(settings, sources))
            samples = make_scene(specs[-1], sources).samples
            np.testing.assert_array_equal(samples, make_scene(specs[-1], reload_sources(specs[-1])).samples)
        check_scenes([outline_spec(spec) for spec in specs], classes=("go", "hey robin"))
    kinds = {segment.kind for segment in specs[0].segments}
    assert kinds == {"quiet", "environment", "speech", "near_word", "music", "noise"}


@pytest.mark.skipif(REAL_SPEECH is None, reason="set GATESEARCH_SPEECH_COMMANDS to a Speech Commands folder")
def test_real_words_share_no_speaker_and_no_recording() -> None:
    sources: list[dict[str, Any]] = [{"kind": "folders", "root": REAL_SPEECH, "events": ["stop"]}]
    if REAL_ARCHIVE:
        sources.append({"kind": "archive", "root": REAL_ARCHIVE})
    changes = {"sample_rate": 16000.0, "hours": 0.5, "events": 60, "gap_s": 1.0, "segment_s": [15, 60]}
    specs = draw_splits(*sources, **changes)
    check_scenes([outline_spec(spec) for spec in specs], classes=("stop",), fa_per_hour=6.0)
    scene = make_scene(specs[2], reload_sources(specs[2]))
    assert scene.clipped == 0 and len(scene.events) == 60
