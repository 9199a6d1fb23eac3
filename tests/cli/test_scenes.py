"""Tests of `gatesearch scene`, which makes, shows and checks labelled streams, and of the page docs/streams.md."""

from __future__ import annotations

import json
import re
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gatesearch.cli import app
from gatesearch.data import espeak
from gatesearch.data.scenes import make_scene, read_spec, reload_sources
from gatesearch.data.scenes.settings import DEFAULT_EVENTS
from gatesearch.data.stream_loader import load as load_data
from gatesearch.recipe import load
from tests.data.scenes.clips import make_word

PAGE = Path(__file__).parents[2] / "docs" / "streams.md"
RATE = 1000
SETTINGS = """\
hours: 0.03
events: 6
sample_rate: 1000.0
segment_s: [3, 8]
sources:
- {kind: folders, root: words, events: ["yes"], backgrounds: {speech: ["*"]}}
- {kind: synthetic_noise, backgrounds: [quiet, noise], clips: 2, seconds: 4.0}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with settings of a scene, and recordings of two words by ten speakers.

    One speaker is in the validation split, one in the test split, and the others are in the training split.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lists: dict[int, list[str]] = {8: [], 9: []}
    for index, word in enumerate(("yes", "bird")):
        (tmp_path / "words" / word).mkdir(parents=True)
        for speaker in range(10):
            name = f"{word}/s{speaker}_nohash_0.wav"
            soundfile.write(tmp_path / "words" / name, make_word([index, speaker]), RATE, subtype="PCM_16")
            lists.get(speaker, []).append(name)
    (tmp_path / "words" / "validation_list.txt").write_text("\n".join(lists[8]))
    (tmp_path / "words" / "testing_list.txt").write_text("\n".join(lists[9]))
    (tmp_path / "scene.yaml").write_text(SETTINGS)
    return tmp_path


def line_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert app.main(["scene", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("gatesearch: ") and len(err.splitlines()) == 1
    return err.removeprefix("gatesearch: ").rstrip("\n")


def test_a_scene_is_made_shown_checked_and_made_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "validation", "test"):
        assert app.main(["scene", "make", "scene.yaml", f"{split}.json", f"split={split}", f"audio={split}.wav"]) == 0
    assert "test.json: 108 s, 6 events, split test, seed 0" in capsys.readouterr().out
    with wave.open("test.wav") as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        assert (file.getframerate(), file.getnchannels()) == (RATE, 1)
    spec = read_spec(Path("test.json"))
    np.testing.assert_array_equal(sound, make_scene(spec, reload_sources(spec)).samples)

    assert app.main(["scene", "show", "test.json"]) == 0
    table = capsys.readouterr().out
    assert re.search(r"test\s+test\s+1:48\s+1000\s+6\s", table) and re.search(r"yes\s+6\s", table)
    assert "timeline: 1 s a character; n noise, q quiet, s speech; events below" in table
    assert max(map(len, table.splitlines())) <= 100

    assert app.main(["scene", "check", "train.json", "validation.json", "test.json", "fa_per_hour=100"]) == 0
    assert "3 scenes" in capsys.readouterr().out
    assert "too short for a claim of 1 false accepts" in line_of(capsys, "check", "test.json", "fa_per_hour=1")

    (folder / "words").rename(folder / "elsewhere")
    assert "no folder 'words'" in line_of(capsys, "make", "test.json", "audio=again.wav")
    assert app.main(["scene", "make", "test.json", "audio=again.wav", "words.root=elsewhere"]) == 0
    assert Path("again.wav").read_bytes() == Path("test.wav").read_bytes()


def test_json_describes_a_scene_alike_after_make_show_and_check(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["scene", "make", "scene.yaml", "a.json", "--json"]) == 0
    outline = json.loads(capsys.readouterr().out)
    assert app.main(["scene", "show", "a.json", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == outline
    assert outline["events_by_class"] == {"yes": 6} and outline["seconds"] == 108.0
    assert app.main(["scene", "check", "a.json", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [outline]


def test_a_recording_with_a_label_track_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write("kitchen.wav", make_word([1]), RATE, subtype="PCM_16")
    Path("kitchen.txt").write_text("0.2\t0.6\tyes\n")
    assert app.main(["scene", "show", "kitchen.wav"]) == 0
    assert "scene kitchen" in capsys.readouterr().out


def test_shared_speakers_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["scene", "make", "scene.yaml", "a.json"]) == 0
    text = Path("a.json").read_text()
    Path("b.json").write_text(
        text.replace('"split": "train"', '"split": "test"').replace('"name": "train"', '"name": "b"')
    )
    capsys.readouterr()
    assert "scenes 'train' (train) and 'b' (test) share the recording" in line_of(capsys, "check", "a.json", "b.json")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "scene: nothing to do; write: gatesearch scene make SETTINGS.yaml OUT.json"),
        ("mkae", "scene: unknown action 'mkae'; nearest: 'make'"),
        ("make", "scene make: write: gatesearch scene make SETTINGS.yaml OUT.json"),
        ("make scene.yaml", "scene make scene.yaml: write: gatesearch scene make SETTINGS.yaml OUT.json"),
        ("make scene.yaml out.wav", "write: gatesearch scene make SETTINGS.yaml OUT.json"),
        ("make out.json", "scene make out.json: write audio=OUT.wav to make the sound"),
        ("make absent.json audio=a.wav", "absent.json: no such file"),
        ("make scene.yaml a.json huors=2", "override huors=2: unknown key 'huors'; nearest: 'hours'"),
        ("make scene.yaml a.json hours=-1", "override hours=-1: -1 is out of range; it must be above 0"),
        ("make scene.yaml a.json split=testing", "override split=testing: unknown split 'testing'; nearest: 'test'"),
        ("make scene.yaml a.json snr_db=[20,0]", "[20, 0] is a range from high to low"),
        ("make scene.yaml a.json shares={quiet:0.5}", "shares={quiet:0.5}"),
        ("make scene.yaml a.json shares={quiet: 0.5}", "override shares={quiet: 0.5}: they add up to 0.5; wanted: 1"),
        ("make scene.yaml a.json segment_s=[0,4]", "override segment_s=[0,4]: 0 s; a segment has 1 s or more"),
        ("make scene.yaml a.json shares={musik: 1.0}", "musik"),
        ("make scene.yaml a.json events=500", "events: 500 events with gaps of 1 s find no room in 0.03 hours"),
        ("make scene.yaml a.json sources.0.root=nowhere", "no folder 'nowhere'"),
        ("make scene.yaml a.json sources.0.kind=folder", "folder"),
        ("make kwz.yaml a.json", "unknown recipe 'kwz.yaml'; nearest: 'kws.yaml'"),
        ("make har_hmd.yaml a.json", "no scenes follow from data.name=har; write settings with sources"),
        ("show", "scene show: write one scene"),
        ("show absent.json", "absent.json: no such file"),
        ("show scene.yaml", "scene.yaml: no JSON"),
        ("check", "scene check: no scenes; write: gatesearch scene check train.json"),
        ("check a.json fa_per_hour=many", "fa_per_hour=many: wanted: a number above 0"),
        ("check a.json fa_per_hours=2", "scene check: unknown key 'fa_per_hours'; nearest: 'fa_per_hour'"),
        ("show absent.wav", "absent.wav"),
    ],
)
def test_mistakes_of_the_user_give_an_error_of_one_line(
    words: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if words.startswith("check a.json fa_per_hour="):
        assert app.main(["scene", "make", "scene.yaml", "a.json"]) == 0
        capsys.readouterr()
    arguments = re.split(r" (?![^{]*\})", words) if words else []
    assert message in line_of(capsys, *arguments)


@pytest.mark.skipif(not espeak.available(), reason="eSpeak NG is not installed: gatesearch[speech]")
def test_the_default_events_are_the_words_of_the_shipped_recipe_and_the_page_runs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tuple(load("kws_clips.yaml").data.positives) == DEFAULT_EVENTS  # type: ignore[union-attr]
    changes = ["hours=0.05", "events=10", "split=test"]
    assert app.main(["scene", "make", "kws_clips.yaml", "a.json", *changes]) == 0
    assert read_spec(Path("a.json")).classes == DEFAULT_EVENTS
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    assert len(names["windows"]) == 100  # type: ignore[arg-type]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_the_scene_of_a_recipe_for_detection_is_that_of_its_run(
    folder: Path, capsys: pytest.CaptureFixture[str], split: str
) -> None:
    pytest.importorskip("espeakng_loader")
    changes = ["data.hours={train: 0.03, validation: 0.02, test: 0.03}", "data.segment_s=[4, 9]"]
    arguments = ["scene", "make", "wake_word.yaml", "a.json", f"split={split}", "audio=a.wav"]
    assert app.main([*arguments, *changes, "data.phrase=hey robin"]) == 0
    recipe = load("wake_word.yaml", [*changes, "data.phrase=hey robin", "data.windows=40"])
    scene = load_data(**recipe.data.arguments).streams[split]
    with wave.open("a.wav") as file:
        np.testing.assert_array_equal(np.frombuffer(file.readframes(file.getnframes()), "<i2"), scene.samples)
