"""Tests of the data set of sounds: from a folder, an archive or synthesis, split by speaker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from gatesearch import data, frontends
from gatesearch.data import espeak, sound
from gatesearch.errors import UserError

RATE = 8000


def tone(hertz: float, seconds: float, rate: int = RATE, level: float = 0.1) -> np.ndarray:
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with tones of twelve speakers in two subfolders; one speaker has another sample rate, one is silent."""
    for i in range(12):
        for name in ("cats", "deep/dogs"):
            path = tmp_path / "set" / name / f"{i:02d}_nohash_0.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            rate = 16000 if i == 3 else RATE
            soundfile.write(path, tone(200 + 20 * i, 0.5, rate, 0.0 if i == 5 else 0.1), rate)
    return tmp_path / "set"


def who(split: data.Split) -> set[str]:
    return {name.rpartition("/")[2].partition("_nohash_")[0] for name in split.names}


def test_windows_of_a_folder_share_no_speaker_and_none_is_silent(folder: Path):
    dataset = data.load_dataset("sound", root=str(folder), seconds=0.1, windows=400)
    assert dataset.classes == ("cats", "deep") and all(dataset.positive) and dataset.kind_names == ("positive",)
    parts = [who(split) for split in (dataset.train, dataset.validation, dataset.test)]
    assert not set.intersection(*parts) and not parts[0] & parts[1] and not parts[0] & parts[2]
    assert sum(map(len, parts)) == 11  # the silent speaker is in no split
    assert dataset.train.inputs.dtype == torch.int16 and dataset.train.inputs.shape[1] == 800
    assert all(
        bool((split.inputs.float().std(1) > 33).all()) for split in (dataset.train, dataset.validation, dataset.test)
    )
    assert "10 below -60 dB left out" in dataset.source and not dataset.synthetic


def test_windows_follow_one_another_and_recordings_of_another_rate_are_resampled(folder: Path):
    dataset = data.load_dataset("sound", root=str(folder), seconds=0.1, windows=400)
    for split in (dataset.train, dataset.validation, dataset.test):
        for name, window in zip(split.names, split.inputs, strict=True):
            i, at = int(name.rpartition("/")[2][:2]), int(name.rpartition("@")[2])
            expected = 32768 * tone(200 + 20 * i, 0.5)[800 * at : 800 * (at + 1)]
            middle = slice(100, 700)  # resampling adds ringing at the ends
            assert np.abs(window.numpy()[middle] - expected[middle]).max() < (60 if i == 3 else 2)


def test_the_number_of_windows_is_limited_and_the_seed_draws_them(folder: Path):
    few, again, other = (
        data.load_dataset("sound", root=str(folder), seconds=0.1, windows=16, seed=seed) for seed in (0, 0, 1)
    )
    assert (len(few.train), len(few.validation), len(few.test)) == (16, 4, 4)
    assert few.train.names == again.train.names != other.train.names


def test_the_lists_of_speech_commands_decide_the_splits(folder: Path):
    (folder / "deep").rename(folder.parent / "elsewhere")
    (folder / "validation_list.txt").write_text("cats/01_nohash_0.wav\n")
    (folder / "testing_list.txt").write_text("cats/02_nohash_0.wav\n")
    dataset = data.load_dataset("sound", root=str(folder), seconds=0.1)
    assert who(dataset.validation) == {"01"} and who(dataset.test) == {"02"} and len(who(dataset.train)) == 9


def archive(path: Path, **changes) -> Path:
    clips = np.stack([(32768 * tone(100 + 10 * i, 0.4)).astype(np.int16) for i in range(20)])
    arrays = {
        "audio": clips,
        "label": np.arange(20, dtype=np.uint8) % 2,
        "classes": np.array(["rain", "wind"]),
        "fold": np.arange(20, dtype=np.uint8) // 4,
        "sample_rate": np.array(RATE),
    } | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


@pytest.mark.parametrize("flat", [False, True])
def test_an_archive_is_split_by_fold_or_speaker(tmp_path: Path, flat: bool):
    changes = {}
    if flat:
        lengths = np.full(20, 3200)
        clips = np.load(archive(tmp_path / "a.npz"))["audio"]
        changes = {"audio": clips.reshape(-1), "offsets": np.concatenate([[0], lengths.cumsum()])}
        changes |= {"speaker": np.arange(20) // 4, "fold": None, "classes": None}
    dataset = data.load_dataset("sound", root=str(archive(tmp_path / "b.npz", **changes)), seconds=0.1)
    folds = [{int(name.partition("/")[2].partition("@")[0]) // 4 for name in s.names}
             for s in (dataset.train, dataset.validation, dataset.test)]  # fmt: skip
    assert [len(part) for part in folds] == [3, 1, 1] and set.union(*folds) == set(range(5))
    assert dataset.classes == (("0", "1") if flat else ("rain", "wind"))
    assert f"no {'speaker' if flat else 'fold'} in two splits" in dataset.source
    name, label = dataset.train.names[0], int(dataset.train.labels[0])
    assert int(name.partition("/")[2].partition("@")[0]) % 2 == label


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "no.npz", "no such folder or file"),
        (
            lambda p: (p / "text.npz").write_text("hello") and p / "text.npz",
            "neither a folder of WAV files nor an .npz",
        ),
        (lambda p: archive(p / "a.npz", label=None), "holds no 'label'; it holds: audio, classes, fold, sample_rate"),
        (lambda p: archive(p / "a.npz", fold=None), "neither 'fold' nor 'speaker' tells"),
        (lambda p: archive(p / "a.npz", fold=np.arange(20) // 10), "2 folds, too few for three splits"),
        (lambda p: archive(p / "a.npz", audio=np.zeros((20, 3200), np.int16)), "the train split has no window"),
        (lambda p: p, "holds no WAV file"),
    ],
)
def test_recordings_that_cannot_be_used_give_an_error_of_one_line(tmp_path: Path, make, message: str):
    with pytest.raises(UserError) as caught:
        data.load_dataset("sound", root=str(make(tmp_path)), seconds=0.1)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.skipif(not espeak.available(), reason='needs eSpeak NG: pip install "gatesearch[speech]"')
def test_the_synthetic_set_has_words_and_noise_and_is_marked_as_synthetic(tmp_path: Path):
    calls: list[tuple[int, int]] = []
    dataset = sound.load(windows=40, cache_dir=tmp_path, progress=lambda *done: calls.append(done))
    assert dataset.synthetic and dataset.classes == ("speech", "noise") and calls[-1][0] == calls[-1][1]
    assert dataset.train.inputs.shape == (40, 4096)
    assert 0 < int((dataset.train.labels == 1).sum()) < 40


def test_the_front_end_gives_every_window_one_level_on_the_int8_grid():
    front = frontends.build("wave")
    quiet, loud = tone(440, 0.1, level=0.002), tone(440, 0.1, level=0.8)
    waves = torch.tensor(np.rint(32768 * np.stack([quiet, loud]))).short()
    out = front.fit(waves)(waves)
    assert out.shape == (2, 1, 800, 1)
    assert torch.allclose(out.square().mean((1, 2, 3)), torch.ones(2), atol=0.02)
    assert torch.equal(out * 16, (out * 16).round()) and front.output_range == (-8.0, 127 / 16)
    silence = front(torch.zeros(1, 800, dtype=torch.int16))
    assert not silence.any()
    assert frontends.restore(front.describe()).samples == 800 and front.macs() == 1600
    with pytest.raises(UserError, match="wave needs sound"):
        front.fit(torch.zeros(2, 3, 4))
