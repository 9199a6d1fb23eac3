"""Tests of synthetic speech: voices and words of the splits, reproducible samples, and the cache."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatesearch.data import Dataset, cache, espeak, noise, synthetic, voices
from gatesearch.data.speech import load
from gatesearch.errors import UserError

needs_espeak = pytest.mark.skipif(not espeak.available(), reason='needs pip install "gatesearch[speech]"')
NEGATIVES = {"_silence_": ["_silence_", "_background_noise_"], "_unknown_": ["*"]}


def make(cache_dir: Path, **changes: Any) -> Dataset:
    values: dict[str, Any] = {
        "positives": ["yes", "no"],
        "negatives": NEGATIVES,
        "seed": 0,
        "clips_per_class": 20,
    }
    return load(None, **{**values, "cache_dir": cache_dir, **changes})


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def data(cache_dir: Path) -> Dataset:
    if not espeak.available():
        pytest.skip('needs pip install "gatesearch[speech]"')
    return make(cache_dir)


def speakers(data: Dataset, split: str) -> set[tuple[str, str]]:
    """Return the accents and voice variants in a split's names, such as ``yes/en-us+f2-176-38-12``."""
    voices = [name.split("/")[1].rsplit("-", 3)[0].partition("+") for name in getattr(data, split).names]
    return {(accent, variant) for accent, plus, variant in voices if plus}


def test_the_data_set_is_marked_as_synthetic(data: Dataset) -> None:
    assert data.synthetic and "synthetic" in data.source
    assert data.classes == ("yes", "no", "_silence_", "_unknown_")
    assert data.positive == (True, True, False, False)


def test_each_split_has_its_shapes_and_counts(data: Dataset) -> None:
    counts = {"train": 14, "validation": 3, "test": 3}
    for split, count in counts.items():
        part = getattr(data, split)
        assert part.inputs.shape == (4 * count, 16000) and part.inputs.dtype == torch.int16
        assert part.labels.bincount().tolist() == [count] * 4
    assert data.noise is not None and data.noise.shape == (14, 16000)
    torch.testing.assert_close(data.noise, data.train.inputs[data.train.labels == 2])


def test_no_voice_is_in_two_splits(data: Dataset) -> None:
    train, validation, test = (speakers(data, split) for split in ("train", "validation", "test"))
    for ours, others in ((train, validation), (train, test), (validation, test)):
        assert not {accent for accent, _ in ours} & {accent for accent, _ in others}
        assert not {voice for _, voice in ours} & {voice for _, voice in others}


def test_voices_and_words_are_disjoint() -> None:
    for groups in (voices.VARIANTS, voices.ACCENTS, {**voices.ONLY_IN, "everywhere": voices.WORDS}):
        names = [name for group in groups.values() for name in group]
        assert len(names) == len(set(names))


def test_a_word_is_louder_than_its_noise(data: Dataset) -> None:
    for wave in data.train.inputs[data.train.labels < 2]:
        power = wave.double().square().unfold(0, 800, 400).mean(1)
        assert power.max() > 2 * power.median()


def test_unknown_words_leave_out_the_positives(data: Dataset) -> None:
    for split in (data.train, data.validation, data.test):
        words = {name.split("/")[0] for name, label in zip(split.names, split.labels, strict=True) if label == 3}
        assert words and not words & {"yes", "no", "_silence_"}


def test_some_unknown_words_of_the_test_split_are_in_no_other_split() -> None:
    plan = {split: set(synthetic._words(["yes"], NEGATIVES, split)[2]) for split in ("train", "validation", "test")}
    assert plan["test"] - plan["train"] == {"tree", "marvin", "backward", "visual"}
    assert plan["validation"] - plan["train"] == {"cat", "wow", "six", "follow"}
    assert "no" in plan["train"] and "yes" not in plan["train"]


@needs_espeak
def test_arguments_can_name_other_words_and_phrases(cache_dir: Path) -> None:
    data = make(cache_dir, positives=["hey_computer"], negatives={"other": ["banana", "_silence_"]}, seconds=1.5)
    assert data.classes == ("hey_computer", "other") and data.train.inputs.shape == (28, 24000)
    assert {name.split("/")[0] for name in data.train.names} == {"hey_computer", "banana", "_silence_"}


DIGEST = """
import hashlib
from gatesearch.data.speech import load
negatives = {"_silence_": ["_silence_"], "_unknown_": ["*"]}
data = load(None, ["yes", "no"], negatives, 3, 10, cache_dir=sys.argv[1])
whole = b"".join(s.inputs.numpy().tobytes() for s in (data.train, data.validation, data.test))
print(hashlib.sha256(whole + data.noise.numpy().tobytes()).hexdigest())
"""


@needs_espeak
def test_a_new_process_gives_the_same_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-c", "import sys\n" + DIGEST, str(tmp_path / "fresh")]
    fresh = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    capsys.readouterr()
    exec(DIGEST, {"sys": types.SimpleNamespace(argv=["", str(tmp_path / "here")])})
    assert len(fresh) == 65 and capsys.readouterr().out == fresh


def whole(data: Dataset) -> str:
    return hashlib.sha256(data.train.inputs.numpy().tobytes()).hexdigest()


@needs_espeak
def test_other_seeds_and_arguments_give_other_sets(data: Dataset, cache_dir: Path) -> None:
    assert whole(make(cache_dir, seed=1)) != whole(data)


def test_the_cache_is_used(
    data: Dataset, cache_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(espeak, "available", lambda: False)
    again = make(cache_dir)
    assert whole(again) == whole(data) and again.train.names == data.train.names
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("keep", [0, 1000, -200])
def test_a_corrupt_cache_is_recomputed_with_a_warning(
    keep: int, data: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path)
    (path,) = tmp_path.glob("*.npz")
    path.write_bytes(path.read_bytes()[:keep])
    assert whole(make(tmp_path)) == whole(data)
    assert f"{path}: corrupt" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    make(tmp_path)
    assert capsys.readouterr().err == ""


def test_a_flipped_bit_in_the_cache_is_detected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, a=np.ones(5), sha256=np.array(cache.digest({"a": np.zeros(5)})))
    assert cache.read(path) is None
    assert "checksum" in capsys.readouterr().err


def test_a_cache_that_cannot_be_written_is_not_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    cache.write(tmp_path / "file" / "a.npz", {"a": np.ones(5)})
    assert "not cached" in capsys.readouterr().err


def test_without_espeak_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak, "available", lambda: False)
    with pytest.raises(UserError, match=r'pip install "gatesearch\[speech\]"'):
        make(tmp_path)


@needs_espeak
def test_an_unknown_voice_gives_an_error_of_one_line() -> None:
    with pytest.raises(UserError, match=r"eSpeak NG exited with status 3 \(no voice 'xx-none'\)"):
        list(espeak.synthesise([espeak.Utterance("yes", "xx-none", 175, 50, 50)]))


@needs_espeak
def test_the_subprocess_ends_if_the_caller_stops_early() -> None:
    utterances = [espeak.Utterance("yes", "en-us+m1", 175, 50, 50)] * 500
    spoken = espeak.synthesise(utterances)
    rate, wave = next(spoken)
    assert rate == 22050 and len(wave) > 1000
    spoken.close()  # type: ignore[attr-defined]


@needs_espeak
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clips_per_class": 9}, "data.clips_per_class: 9; wanted: 10 or more"),
        ({"seconds": 0.2}, "data.seconds: 0.2 is too short for 'yes'"),
        ({"positives": ["..."]}, "says nothing for '...'"),
        ({"negatives": {"x": ["_silense_"]}}, "data.negatives.x: .*'_silense_'; nearest: '_silence_'"),
        ({"positives": [False]}, "data.positives: False is not a word"),
    ],
)
def test_errors_name_wrong_values(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        make(tmp_path, **changes)


@needs_espeak
def test_progress_counts_every_clip(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    make(tmp_path, clips_per_class=10, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (40, 40)


@pytest.mark.parametrize("kind", noise.MAKERS)
def test_noise_is_finite_and_differs_between_clips(kind: str) -> None:
    rng = np.random.default_rng(0)
    first, second = (noise.MAKERS[kind](rng, 16000, 16000) for _ in range(2))
    assert first.shape == (16000,) and np.isfinite(first).all() and first.std() > 0
    assert not np.array_equal(first, second)
