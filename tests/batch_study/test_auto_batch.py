"""Tests that ``retrain.batch_size: auto`` takes the batch size that a study found.

Without a study, an error says how to run one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gatesearch.batch_study.auto_batch import resolve_batch_size, studied_keys
from gatesearch.cli import app
from gatesearch.errors import UserError
from gatesearch.pipeline.run import do_steps
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.recipe import Recipe, load, to_yaml

AUTO = "retrain.batch_size=auto"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_outcome(recipe: Recipe, **changed: Any) -> None:
    path = Path("runs/digits_hybrid-scaling/outcome.json")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"studied": studied_keys(recipe), "batch_size": 256, **changed}))


def test_auto_takes_the_studied_batch_size_and_the_recipe_stores_the_number() -> None:
    recipe = load("digits_hybrid.yaml", [AUTO])
    write_outcome(recipe)
    resolved = resolve_batch_size(recipe)
    assert resolved.retrain.batch_size == 256 and resolved.retrain.epochs == recipe.retrain.epochs
    assert resolve_batch_size(resolved) == resolved
    assert recipe.training.updated(resolved.retrain).batch_size == 256
    with pytest.raises(UserError, match=r"retrain\.batch_size: auto"):
        do_steps(recipe, RunFolder(Path("runs/one")))
    Path("resumed.yaml").write_text(to_yaml(resolved))
    assert load("resumed.yaml").retrain.batch_size == 256


def test_a_number_needs_no_study() -> None:
    recipe = load("digits_hybrid.yaml", ["retrain.batch_size=32"])
    assert resolve_batch_size(recipe) is recipe


def test_without_a_study_the_error_names_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["run", "recipe=digits_hybrid.yaml", AUTO]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "run: gatesearch scaling recipe=digits_hybrid" in error
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    "change", ["backbone_args.width=0.5", "data.seed=3", "training.label_smoothing=0.0", "augment=null"]
)
def test_the_study_of_another_recipe_is_not_used(change: str) -> None:
    write_outcome(load("digits_hybrid.yaml", [AUTO]))
    with pytest.raises(
        UserError, match=r"is of a recipe with another (augment|backbone_args|data|training.label_smoothing);"
    ):
        resolve_batch_size(load("digits_hybrid.yaml", [AUTO, change]))


def test_keys_that_a_study_does_not_use_may_differ() -> None:
    write_outcome(load("digits_hybrid.yaml"))
    other = load("digits_hybrid.yaml", [AUTO, "seed=4", "search.trials=3", "training.epochs=2", "device=host"])
    assert resolve_batch_size(other).retrain.batch_size == 256


def test_a_study_without_a_result_gives_no_batch_size() -> None:
    recipe = load("digits_hybrid.yaml", [AUTO])
    write_outcome(recipe, batch_size=None)
    with pytest.raises(UserError, match="names no batch size: fewer than three sizes reached the goal; set a number"):
        resolve_batch_size(recipe)


def test_a_batch_size_that_is_neither_a_number_nor_auto_is_refused() -> None:
    with pytest.raises(UserError, match=r"override retrain.batch_size=best: 'best' is neither a number nor 'auto'"):
        load("digits_hybrid.yaml", ["retrain.batch_size=best"])
    with pytest.raises(UserError, match="must be at least 1"):
        load("digits_hybrid.yaml", ["retrain.batch_size=0"])
