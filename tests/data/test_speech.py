"""Tests of loading folders of spoken words: their splits, background noise, and unusable files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.data import Dataset, folders, load_dataset, wav, waveforms
from gatesearch.data.speech import load
from gatesearch.errors import UserError

Writer = Callable[..., Path]
NEGATIVES = {"_silence_": ["_silence_", "_background_noise_"], "_unknown_": ["*"]}


def load_tree(root: Path, **changes: Any) -> Dataset:
    values: dict[str, Any] = {
        "positives": ["yes", "no"],
        "negatives": NEGATIVES,
        "seed": 0,
        "clips_per_class": 10,
    }
    return load(str(root), **{**values, "seconds": 0.1, **changes})


def test_the_lists_decide_the_splits(tree: Path) -> None:
    data = load_tree(tree)
    assert data.classes == ("yes", "no", "_silence_", "_unknown_")
    assert data.positive == (True, True, False, False)
    assert not data.synthetic and data.sample_rate == 16000
    for split, clips in ((data.train, {"0", "1"}), (data.validation, {"2"}), (data.test, {"3"})):
        assert {name.partition("speaker")[2][0] for name in split.names} == clips
        assert split.inputs.dtype == torch.int16 and split.inputs.shape == (4 * len(clips), 1600)
        # The value of each file's first sample identifies the file.
        word = {"yes": 1, "no": 2, "bird": 3, "_silence_": 4}
        marks = [10 * word[name.split("/")[0]] + int(name.partition("speaker")[2][0]) for name in split.names]
        assert split.inputs[:, 0].tolist() == marks
        label = {"yes": 0, "no": 1, "bird": 3, "_silence_": 2}
        assert split.labels.tolist() == [label[name.split("/")[0]] for name in split.names]


def test_noise_comes_from_the_training_split_only(tree: Path) -> None:
    noise = load_tree(tree).noise
    assert noise is not None and noise[:, 0].tolist() == [40, 41]


def test_without_background_recordings_there_is_no_noise(tree: Path) -> None:
    assert load_tree(tree, negatives={"other": ["bird"]}).noise is None


def test_without_lists_each_speaker_is_in_one_split(tmp_path: Path, write_wav: Writer) -> None:
    for word in ("yes", "bird"):
        for who in range(60):
            for take in range(2):
                write_wav(f"{word}/s{who}_nohash_{take}.wav", samples=10)
    data = load_tree(tmp_path, positives=["yes"], negatives={"_unknown_": ["*"]})
    speakers = [
        {Path(name).name.split("_")[0] for name in split.names} for split in (data.train, data.validation, data.test)
    ]
    assert not speakers[0] & speakers[1] and not speakers[0] & speakers[2] and not speakers[1] & speakers[2]
    assert sum(map(len, speakers)) == 60 and len(speakers[0]) > 40


@given(st.text(min_size=1), st.text(min_size=1))
def test_the_split_depends_on_the_speaker_alone(who: str, other: str) -> None:
    assert folders.hashed_split(who) == folders.hashed_split(who)
    if "_nohash_" not in who:
        assert folders.speaker_of(who, f"{who}_nohash_1.wav") == folders.speaker_of(other, f"{who}_nohash_7.wav")


def test_background_recordings_are_cut_without_overlap_between_splits(tree: Path, write_wav: Writer) -> None:
    path = write_wav("_background_noise_/street.wav")
    ramp = np.arange(20000, dtype=np.int16) + 1  # the value of a sample is its position
    soundfile.write(path, ramp, 16000, subtype="PCM_16")
    for old in (tree / "_silence_").iterdir():
        old.unlink()
    for name in ("validation_list.txt", "testing_list.txt"):
        lines = (tree / name).read_text().splitlines()
        (tree / name).write_text("\n".join(line for line in lines if "_silence_" not in line))
    data = load_tree(tree)
    assert data.noise is not None and data.noise.shape == (10, 1600)
    assert data.noise.flatten().tolist() == ramp[:16000].tolist()
    bounds = {"train": (0, 16000), "validation": (16000, 18000), "test": (18000, 20000)}
    for split, (low, high) in bounds.items():
        part: Any = getattr(data, split)
        silence = [name for name in part.names if name.startswith("_background_noise_")]
        assert len(silence) == (2 if split == "train" else 1)  # the number of clips of a positive class
        for name in silence:
            start = int(name.partition("@")[2])
            assert low <= start <= high - 1600


def test_unknown_words_are_subsampled_if_they_outnumber_a_positive(tree: Path, write_wav: Writer) -> None:
    for number in range(30):
        write_wav(f"dog/x_nohash_{number}.wav")
    data = load_tree(tree)
    assert data.train.labels.bincount().tolist() == [2, 2, 2, 4]
    assert "_unknown_ reduced from 34 to 6 clips" in data.source
    again = load_tree(tree)
    assert again.train.names == data.train.names
    assert load_tree(tree, seed=1).train.names != data.train.names


@pytest.mark.parametrize("length", [800, 3200])
def test_clips_of_other_lengths_are_centred(tree: Path, write_wav: Writer, length: int) -> None:
    write_wav("yes/speaker0_nohash_1.wav", samples=length)
    clip = load_tree(tree).train.inputs[0]
    assert (clip != 0).sum() == min(length, 1600)
    if length < 1600:
        assert (clip[:400] == 0).all() and (clip[1200:] == 0).all() and clip[400] == 1


def test_other_sample_formats_are_read(tmp_path: Path) -> None:
    wave = np.array([[0.5, 0.25], [-1.0, -1.0], [1.0, 1.0]])
    path = tmp_path / "stereo.wav"
    for subtype in ("PCM_16", "PCM_24", "FLOAT"):
        soundfile.write(path, wave, 16000, subtype=subtype)
        np.testing.assert_allclose(wav.read(path, 16000), [12288, -32768, 32767], atol=1)


@given(st.integers(0, 40), st.integers(1, 40))
def test_fit_length_is_centred(length: int, samples: int) -> None:
    fitted = waveforms.fit_length(np.arange(1, length + 1, dtype=np.int16), samples)
    cropped = fitted[fitted > 0]
    assert len(fitted) == samples and len(cropped) == min(length, samples)
    removed_before = int(cropped[0]) - 1 if len(cropped) else 0
    assert abs(removed_before - (length - len(cropped) - removed_before)) <= 1


def test_progress_counts_every_file(tree: Path) -> None:
    calls: list[tuple[int, int]] = []
    load_tree(tree, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (16, 16) and calls == sorted(calls)


def break_file(path: Path) -> None:
    path.write_bytes(b"RIFF but not really")


def halve_rate(path: Path) -> None:
    soundfile.write(path, np.ones(800, np.int16), 8000, subtype="PCM_16")


def empty(path: Path) -> None:
    soundfile.write(path, np.ones(0, np.int16), 16000, subtype="PCM_16")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_file, "cannot be read as a WAV file"),
        (halve_rate, "sampled at 8000 Hz, below data.sample_rate=16000; data.sample_rate=8000 reads it"),
        (empty, "no samples"),
    ],
)
def test_an_unusable_file_is_an_error_or_is_skipped_and_counted(
    tree: Path, damage: Callable[[Path], None], message: str
) -> None:
    path = tree / "yes" / "speaker0_nohash_1.wav"
    damage(path)
    with pytest.raises(UserError, match=message) as raised:
        load_tree(tree)
    assert str(path) in str(raised.value) and "skip_bad_files=true" in str(raised.value)
    assert "\n" not in str(raised.value)
    data = load_tree(tree, skip_bad_files=True)
    assert len(data.train) == 7
    assert "1 unusable file left out" in data.source and str(path) in data.source


def test_files_that_were_sampled_faster_are_resampled(tmp_path: Path) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
    soundfile.write(tmp_path / "tone.wav", tone, 44100, subtype="PCM_16")
    wave = wav.read(tmp_path / "tone.wav", 16000)
    assert len(wave) == 16000
    expected = 0.5 * 32768 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    # The ends are left out, because resampling adds ringing there.
    np.testing.assert_allclose(wave[200:-200], expected[200:-200], atol=0.005 * 32768)


def test_an_unusable_background_recording_is_an_error_or_is_skipped_and_counted(tree: Path) -> None:
    (tree / "_background_noise_").mkdir()
    break_file(tree / "_background_noise_" / "hum.wav")
    with pytest.raises(UserError, match=r"hum\.wav: cannot be read.*skip_bad_files"):
        load_tree(tree)
    assert "hum.wav" in load_tree(tree, skip_bad_files=True).source


def test_the_error_for_a_missing_root_names_the_nearest_folder(tree: Path) -> None:
    (tree / "speech_commands").mkdir()
    with pytest.raises(UserError, match=r"data.root: no folder '.*speech_comands'; nearest: '.*speech_commands'"):
        load_tree(tree / "speech_comands")
    with pytest.raises(UserError, match="root=null synthesises"):
        load_tree(tree / "nowhere" / "else")


def test_a_folder_without_class_folders_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no class folders"):
        load_tree(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positives": ["yess"]}, "data.positives: .*unknown class folder 'yess'; nearest: 'yes'"),
        ({"negatives": {"_unknown_": ["brid"]}}, "data.negatives._unknown_: .*'brid'; nearest: 'bird'"),
        ({"negatives": {"_silence_": ["_background_noise_"]}}, "unknown class folder '_background_noise_'"),
        ({"negatives": {"_silence_": ["yes"]}}, "'yes' is already in data.positives"),
        ({"negatives": {"a": ["*"], "b": ["*"]}}, r"data.negatives.b: '\*' is already in data.negatives.a"),
        ({"negatives": {"yes": ["bird"]}}, "data.negatives.yes: a positive has this name"),
        ({"negatives": {"_unknown_": "*"}}, "data.negatives._unknown_: .*list of folders"),
        ({"negatives": {}}, "data.negatives: {}"),
        ({"positives": [True]}, "data.positives: True is not a word; write it in quotes"),
        ({"positives": "yes"}, "data.positives: 'yes'; wanted: a list"),
        ({"positives": []}, "data.positives: "),
        ({"positives": ["yes", "yes"]}, "'yes' is already in data.positives"),
        (
            {"positives": ["yes", "no", "bird"], "negatives": {"_unknown_": ["*"]}},
            r"data.negatives._unknown_: no folder is left for '\*'",
        ),
        ({"seconds": 0.0}, "data.seconds: 0.0"),
    ],
)
def test_errors_name_wrong_classes(tree: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_tree(tree, **changes)


def test_the_error_names_an_empty_class_folder(tree: Path) -> None:
    (tree / "stop").mkdir()
    with pytest.raises(UserError, match=r"data.positives: .*stop holds no WAV file"):
        load_tree(tree, positives=["yes", "stop"])
    load_tree(tree)  # an empty folder that no class names is no error


def test_a_list_that_names_a_missing_file_is_refused(tree: Path) -> None:
    with (tree / "testing_list.txt").open("a") as file:
        file.write("yes/speaker3_nohash_9.wav\n")
    with pytest.raises(UserError, match=r"testing_list.txt:5: no file .*; nearest: 'yes/speaker3_nohash_1.wav'"):
        load_tree(tree)


def test_a_file_in_both_lists_is_refused(tree: Path) -> None:
    with (tree / "testing_list.txt").open("a") as file:
        file.write("yes/speaker2_nohash_1.wav\n")
    with pytest.raises(UserError, match=r"testing_list.txt:5: .*in both lists"):
        load_tree(tree)


def test_one_list_without_the_other_is_refused(tree: Path) -> None:
    (tree / "validation_list.txt").unlink()
    with pytest.raises(UserError, match=r"testing_list.txt is there but .*validation_list.txt is not"):
        load_tree(tree)


def test_a_split_without_a_class_is_refused(tree: Path) -> None:
    lines = (tree / "testing_list.txt").read_text().splitlines()
    (tree / "testing_list.txt").write_text("\n".join(line for line in lines if "bird" not in line))
    with pytest.raises(UserError, match=r"test split has no clip of class '_unknown_'.*testing_list.txt"):
        load_tree(tree)


def test_the_real_speech_commands_can_be_read() -> None:
    root = os.environ.get("GATESEARCH_SPEECH_COMMANDS")
    if not root:
        pytest.skip("GATESEARCH_SPEECH_COMMANDS does not name a Speech Commands folder")
    words = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"]
    data = load_dataset(
        "speech",
        root=root,
        positives=words,
        negatives=NEGATIVES,
        seed=0,
        clips_per_class=0,
        skip_bad_files=True,
    )
    splits = (data.train, data.validation, data.test)
    speakers = [{name.split("/")[1].split("_nohash_")[0] for name in s.names if "_nohash_" in name} for s in splits]
    assert not speakers[0] & speakers[1] and not speakers[0] & speakers[2] and not speakers[1] & speakers[2]
    assert all(split.labels.bincount(minlength=12).min() >= 20 for split in splits)
    assert data.noise is not None and data.noise.shape[1] == 16000
    training = {tuple(clip.tolist()) for clip in data.noise[:50]}
    assert not training & {tuple(clip.tolist()) for clip in data.test.inputs[data.test.labels == 10]}
