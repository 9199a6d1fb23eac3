"""Tests of the command ``gatesearch scaling``: a small study, its files, errors of one line."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from gatesearch.batch_study import plot
from gatesearch.batch_study.backbone import BackboneTraining
from gatesearch.cli import app
from gatesearch.report.rows import Row

TINY = [
    "recipe=digits_hybrid.yaml",
    "backbone=tests.batch_study.small_cnn:net",
    "backbone_args={}",
    "space.layers.sites=all",
    "training.epochs=2",
    "batches=64..256",
    "trials=4",
    "pilot=4",
    "seeds=1",
    "goal=0.5",
]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read_error(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert app.main(["scaling", *words]) == 2
    _, err = capsys.readouterr()
    assert len(err.splitlines()) == 1
    return err


def test_a_study_writes_its_files_and_auto_uses_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gatesearch.batch_study.study.EXTENSION_ROUNDS", 0)
    monkeypatch.setattr("gatesearch.batch_study.bootstrap.DRAWS", 20)
    assert app.main(["scaling", *TINY]) == 0
    outcome = json.loads(Path("runs/digits_hybrid-scaling/outcome.json").read_text())
    assert [point["batch"] for point in outcome["points"]] == [64, 128, 256]
    assert outcome["ghost"] == 64 and outcome["data"]["train"] == 1079 and outcome["seconds"] > 0
    page = Path("results/batch_study/README.md").read_text()
    command = shlex.join(["gatesearch", "scaling", *TINY])
    assert command in page and "(digits_hybrid.png)" in page
    assert str(Path.cwd()) not in page and "validation error" in page and "64 samples is normalised" in page
    written = json.loads(Path("results/batch_study/rows.json").read_text())
    rows = [Row(**{key: value for key, value in row.items() if key != "commit"}) for row in written]
    assert all(row.command == command and row.value >= 0 for row in rows if row.unit != "1")
    assert Path("results/batch_study/digits_hybrid.png").stat().st_size > 10_000

    monkeypatch.setattr(BackboneTraining, "start", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(plot, "draw", lambda *_: None)
    assert app.main(["scaling", *TINY]) == 0
    assert Path("results/batch_study/README.md").read_text() == page
    capsys.readouterr()
    assert "holds a study with trials 4, not 5" in read_error(capsys, *TINY, "trials=5")
    assert "holds a study with augment" in read_error(capsys, *TINY, "augment.pad=2")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("batches=8", "override batches=8: '8' is no range such as 8..4096"),
        ("batches=8..100", "'8..100': batch sizes go from one power of two to another"),
        ("batches=64..8", "'64..8': batch sizes go from one power of two to another"),
        ("trials=2", "override trials=2: 2 is out of range; it must be at least 4"),
        ("ghost=64", "override ghost=64: 64 is no power of two up to the smallest batch size, 8"),
        ("micro=12", "override micro=12: 12 is no multiple of the 8 samples normalised together"),
        ("goal=0", "override goal=0: 0 is out of range; it must be above 0"),
        ("trails=9", "override trails=9: unknown key 'trails'"),
        ("batches=2048..8192", "batches=2048..8192: 0 batch sizes fit into a training split of 1,079 samples"),
    ],
)
def test_a_wrong_setting_gives_an_error_of_one_line(
    word: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if word == "batches=2048..8192":
        assert app.main(["scaling", "recipe=digits_hybrid.yaml", word]) == 2
        assert message in capsys.readouterr().err
    else:
        assert message in read_error(capsys, "recipe=digits_hybrid.yaml", word)
    assert not list(Path("runs").rglob("*.jsonl"))


def test_a_missing_recipe_is_an_error_with_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert "write: gatesearch scaling recipe=kws.yaml" in read_error(capsys, "batches=8..64")
