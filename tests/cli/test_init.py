"""Tests of the command ``init``: the recipes that it writes load, and it overwrites nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from gatesearch import recipe
from gatesearch.cli import app, init


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def words(folder: Path) -> Path:
    """A folder of two words and a background, ten seconds of noise each."""
    random = np.random.default_rng(0)
    for name in ("hey", "other", "_background_noise_"):
        place = folder / "my_wavs" / name
        place.mkdir(parents=True)
        for number in range(12):
            samples = (3000 * random.standard_normal(8000)).astype(np.int16)
            soundfile.write(place / f"{number:02}.wav", samples, 8000)
    return Path("my_wavs")


def line_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert app.main(["init", *arguments]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    return err.removeprefix("gatesearch: ").rstrip("\n")


def test_a_folder_of_words_gives_a_recipe_that_detects_them(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["init", f"data={words}", "words=hey"]) == 0
    assert "36 WAV files in 3 folders, without split lists" in capsys.readouterr().out
    assert "# Run it by: gatesearch run recipe=my_wavs.yaml" in Path("my_wavs.yaml").read_text().splitlines()[:4]
    written = recipe.load("my_wavs.yaml")
    arguments = written.data.arguments
    assert (written.goal, arguments["positives"], arguments["sample_rate"]) == ("detection", ["hey"], 8000)
    assert arguments["root"] == str(words.absolute())


def test_a_split_without_a_word_is_a_warning(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["init", f"data={words}", "words=hey"]) == 0
    assert "warning: hey: no file in the test split; record more" in capsys.readouterr().err


def test_a_folder_of_words_gives_a_recipe_that_tells_clips_apart(words: Path) -> None:
    assert app.main(["init", f"data={words}", "words=hey", "goal=classification", "network=kwt", "out=clips.yaml"]) == 0
    written = recipe.load("clips.yaml")
    assert dict(written.stream.shares or {}) == {"positive": 0.1, "_silence_": 0.8, "_other_": 0.1}
    assert (written.backbone, dict(written.backbone_args)) == ("kwt", {})


@pytest.mark.parametrize("arguments", [["data=digits"], ["phrase=hey robin"], ["data=har"], ["data=cifar10"]])
def test_recipes_without_recordings_load(arguments: list[str], folder: Path) -> None:
    assert app.main(["init", *arguments, "out=mine.yaml", "device=host"]) == 0
    assert recipe.load("mine.yaml").device == "host"


def test_a_function_of_the_user_is_named_in_the_recipe() -> None:
    assert app.main(["init", "data=my_data:load", "network=my_nets:Net"]) == 0
    written = recipe.load("load.yaml")
    assert (written.data.name, written.backbone, written.frontend.name) == ("my_data:load", "my_nets:Net", "identity")


def test_no_file_is_overwritten(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("my_wavs.yaml").write_text("mine")
    assert "is there already, and init overwrites nothing" in line_of(capsys, f"data={words}")
    assert Path("my_wavs.yaml").read_text() == "mine"


def test_answers_come_from_the_terminal_where_there_is_one(words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"Folders to wake for": "hey", "Device, or the path of a profile": "host"}
    asked: list[str] = []

    def prompt(question: str, default: Any = None) -> Any:
        asked.append(question.partition(" (")[0])
        return answers.get(asked[-1], default)

    monkeypatch.setattr(init.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(init.typer, "prompt", prompt)
    assert app.main(["init", f"data={words}", "goal=detection"]) == 0
    assert asked == [
        "Folders to wake for", "Network, or package.module:Class", "Device, or the path of a profile",
        "File of the recipe",
    ]  # fmt: skip
    assert recipe.load("my_wavs.yaml").device == "host"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "init: no data named; write: gatesearch init data=DIR"),
        (["data=my_wav"], "data=my_wav: no such folder or data set; nearest: 'my_wavs'"),
        (["data=my_wavs", "words=hay"], "words=hay: unknown folder 'hay'; nearest: 'hey'"),
        (["data=my_wavs", "goal=detect"], "goal=detect: unknown goal 'detect'; nearest: 'detection'"),
        (["data=my_wavs", "device=tree_core"], "device=tree_core: unknown device 'tree_core'; nearest: 'three_core'"),
        (["data=my_wavs", "network=ds_cn"], "network=ds_cn: unknown network 'ds_cn'; nearest: 'ds_cnn'"),
        (["data=my_wavs", "out=no/where.yaml"], "out=no/where.yaml: no folder no"),
        (["data=my_wavs/hey"], "12 WAV files without class folders or label tracks"),
        (["data=digits", "words=1"], "these data have no folders of words"),
        (["data=digits", "phrase=hey"], "leave one of them out"),
        (["date=my_wavs"], "init: unknown key 'date'; nearest: 'data'"),
    ],
)
def test_mistakes_give_an_error_of_one_line(
    arguments: list[str], line: str, words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert line in line_of(capsys, *arguments)
    assert not list(Path().glob("*.yaml"))


def test_data_that_no_recipe_reads_are_refused_with_the_way_to_load_them(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, file in {"pictures": "a/1.png", "motion": "walk.csv", "kitchen": "kitchen.txt"}.items():
        (folder / name / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / name / file).touch()
    (folder / "kitchen" / "kitchen.wav").touch()
    assert "data=my_module:load" in line_of(capsys, "data=pictures")
    assert "data=my_module:load" in line_of(capsys, "data=motion")
    assert "1 recordings with label tracks" in line_of(capsys, "data=kitchen")
