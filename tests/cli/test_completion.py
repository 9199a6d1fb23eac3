"""Tests of shell completion for commands, recipe names, keys, run folders and devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatesearch.cli import app, completion


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "kws-1"
    run.mkdir(parents=True)
    (run / "recipe.yaml").touch()
    return tmp_path


def answers(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the completions of the last word; bash splits a command line into such words, also at "="."""
    monkeypatch.setenv(completion.VARIABLE, "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "\n".join(["gatesearch", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    assert app.main([]) == 0
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ver"], ["verify"]),
        (["run", "recipe", "=", "kws_l"], ["kws_lstm_hmd.yaml"]),
        (["run", "recipe", "=", "kws.yaml", "device", "=", "three"], ["three_core"]),
        (["run", "training.ep"], ["training.epochs="]),
        (["show", "~augment.sp"], ["~augment.speed"]),
        (["run", "resume", "=", "ru"], ["runs/kws-1"]),
        (["report", "ru"], ["runs/kws-1"]),
        (["devices", "thr"], ["three_core"]),
        (["schema", "man"], ["manifest"]),
        (["run", "seed", "=", "1"], []),
        (["no-such-command", "x"], []),
    ],
)
def test_a_word_that_bash_split_is_completed(
    words: list[str], expected: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answers(words, monkeypatch, capsys) == expected


def test_all_recipes_are_offered_behind_the_equals_sign(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "digits_hybrid.yaml" in answers(["run", "recipe", "="], monkeypatch, capsys)


def test_other_shells_get_whole_words(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(completion.VARIABLE, "complete_zsh")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "gatesearch run recipe=kws_v")
    with pytest.raises(SystemExit):
        app.main([])
    assert "recipe=kws_vit_gc.yaml" in capsys.readouterr().out


def test_the_script_for_a_shell_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    # typer looks for the shell among the processes above this one; under a test runner there may be none.
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))
    with pytest.raises(SystemExit):
        app.main(["--show-completion"])
    assert completion.VARIABLE in capsys.readouterr().out
