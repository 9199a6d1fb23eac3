"""Tests of whole runs with worker processes, and with studies in a database."""

from __future__ import annotations

import csv
import json
import pickle
from pathlib import Path

import pytest

from gatesearch import recipe
from gatesearch.cli import app
from gatesearch.errors import UserError
from gatesearch.pipeline import run as pipeline
from gatesearch.pipeline.evaluate import Evaluator
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.plan import GatePlan
from gatesearch.search import engine
from tests import tones

pytestmark = pytest.mark.usefixtures("place")


def read_complete_trials(path: Path) -> dict[str, list[str]]:
    with (path / "trials.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["state"] == "complete"]
    return {row["digest"]: [row[key] for key in ("accuracy", "expected_latency_us", "feasible")] for row in rows}


@pytest.mark.slow
def test_workers_and_one_process_give_equal_results(place: Path) -> None:
    root = tones.write(place / "tones")
    # The space has six plans, one for each choice of cores, so both searches try the same ones.
    six_plans = ["space.kinds.gc.keep=[0.5]", "space.kinds.gc.recall=[0.99]", "search.trials=6", "search.epochs=6"]
    settings = ["recipe=kws_clips.yaml", f"data.root={root}", *tones.TINY, *six_plans]
    parallel = [*settings, "search.executor.workers=2", f"search.storage=sqlite:///{place}/studies.db"]
    for name, arguments in (("alone", settings), ("two", parallel)):
        loaded = recipe.load("kws_clips.yaml", arguments[1:])
        RunFolder(place / name).write("recipe.yaml", recipe.to_yaml(loaded))
        recipe.mark_run(place / name, loaded)  # a storage outside the folder needs this mark
        assert app.main(["search", name]) == 0
    one, two = read_complete_trials(place / "alone"), read_complete_trials(place / "two")
    assert len(one) == len(two) == 6
    shared = set(one) & set(two)
    assert len(shared) >= 3 and {digest: one[digest] for digest in shared} == {digest: two[digest] for digest in shared}
    assert not (place / "two" / "study.journal").exists() and not list((place / "two" / "logs" / "trials").glob("*"))
    name = json.loads((place / "two" / "study.json").read_text())["study"]
    assert name.startswith("two-") and len(engine.read(f"sqlite:///{place}/studies.db", name).complete) == 6
    # A worker's evaluator has neither the data nor the traced graph, but gives the same outcome.
    alone = pipeline.resume(place / "alone", until="search")
    plan = GatePlan.from_json(alone.trials.complete[0].plan.to_json())
    evaluate = Evaluator(alone.problem, alone.baseline, alone.cost, place / "alone" / "logs" / "trials")
    assert pickle.loads(pickle.dumps(evaluate))(plan) == evaluate(plan)


def test_recipes_name_executors() -> None:
    result = recipe.load(
        "kws_clips", ["search.executor=ray", "search.executor.address=auto", "search.executor.workers=8"]
    )
    assert result.search.executor.model_dump() == {
        "name": "ray",
        "workers": 8,
        "cpus": 1,
        "gpus": 0.0,
        "address": "auto",
    }


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (["search.executor=slurm"], "override search.executor=slurm: unknown name 'slurm'; choices: local, ray"),
        (
            ["search.executor.address=auto"],
            "override search.executor.address=auto: is for name: ray, and name is local",
        ),
        (
            ["search.storage=mysql://host/db"],
            "override search.storage=mysql://host/db: 'mysql://host/db' is none of: journal, sqlite:///FILE, "
            "postgresql://USER@HOST/DATABASE",
        ),
        (
            ["search.storage=postgresql://me:secret@host/db"],
            "override search.storage=postgresql://me:secret@host/db: has a password in it, which run folders would "
            "show; set PGPASSWORD or write ~/.pgpass",
        ),
        (["search.executor.workers=0"], "override search.executor.workers=0: 0 is out of range; it must be at least 1"),
    ],
)
def test_impossible_executors_give_an_error_of_one_line(written: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        recipe.load("kws_clips", written)
    assert str(error.value) == message
