"""Searches whose trials are given up early, through the command line on a folder of tones."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
import tones
from trainings import Trainings

from gatesearch import recipe
from gatesearch.cli import app
from gatesearch.errors import UserError
from gatesearch.pipeline.run_dir import RunFolder

pytestmark = pytest.mark.usefixtures("place")


def rows(path: Path) -> list[dict[str, str]]:
    with (path / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_run_that_was_cut_off_between_rungs_ends_as_if_it_had_not(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    halving = ["search.trials=9", "search.epochs=4", "search.halving={first: 1, reduction: 2, tau: 0}"]
    given = [f"data.root={tones.write(place / 'tones')}", *tones.TINY, *halving]
    for name, stop in (("whole", 0), ("cut", 13)):
        RunFolder(place / name).write("recipe.yaml", recipe.to_yaml(recipe.load("kws.yaml", given)))
        with pytest.MonkeyPatch.context() as patch:
            fits = Trainings(patch, stop)
            while app.main(["search", name]):
                assert fits.count == stop, "cut off once, at the training that was told"
                assert list((place / "cut" / "logs" / "trials").glob("*/*.ckpt"))
    whole, cut = rows(place / "whole"), rows(place / "cut")
    assert cut == whole and {"complete", "pruned"} <= {row["state"] for row in whole}
    for row in whole:
        assert (row["given_up_after"] in ("1", "2")) == (row["state"] == "pruned")
        assert (row["accuracy"] != "") == (row["state"] == "complete")
    tried = Counter(row["state"] for row in whole)
    assert tried["complete"] + tried["pruned"] == 9
    # What was given up left a checkpoint, which went with the search.
    assert not (place / "cut" / "logs" / "trials").exists()
    told = capsys.readouterr()
    assert f"{tried['complete']} plans tried, {tried['pruned']} given up early" in told.out
    assert f"{tried['pruned']} given up early" in told.err  # the line of progress
    assert app.main(["report", "whole"]) == 0
    assert "given up early" in (place / "whole" / "report.html").read_text()
    study = json.dumps((place / "whole" / "study.journal").read_text())
    assert "rungs" in study


def test_a_rung_that_no_trial_comes_by() -> None:
    with pytest.raises(UserError) as error:
        recipe.load("kws.yaml", ["search.halving={first: 2, reduction: 3}"])
    assert str(error.value) == (
        "override search.halving={first: 2, reduction: 3}: first rung after 2 epochs, and a trial has 2"
    )
    found = recipe.load("kws.yaml", ["search.halving={}", "search.epochs=9"]).search.halving
    assert found is not None and found.model_dump() == {"first": 1, "reduction": 3, "tau": 0.6}
