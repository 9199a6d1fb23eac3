"""Tests of the benchmark of searches on many workers: its measurements, its page and its arguments."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import results
from gatesearch.errors import UserError
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.search import engine
from gatesearch.search.executors.base import InProcess
from results.cluster import measure
from results.cluster.page import WORKERS, Cluster
from results.cluster.sleep import Sleep

MACHINE = {"cpu": "a core", "cores": 2, "python": "3.11", "versions": {}}


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("executors=slurm", "bench cluster: executors: unknown executor 'slurm'; choices: local, ray"),
        (
            "workers=3",
            "bench cluster: workers: unknown number of workers '3'; nearest: '32' (choices: 1, 2, 4, 8, 16, 32, 64)",
        ),
        ("trials=3", "bench cluster: unknown key 'trials'; choices: executors, workers"),
    ],
)
def test_wrong_arguments_give_an_error_of_one_line(argument: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        results.run("cluster", [argument])
    assert str(error.value) == message


def test_the_engine_is_measured_on_a_stored_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "TRIALS", 6)
    monkeypatch.setattr(measure, "PAUSE_S", 0.0)
    for storage in measure.STORAGES:
        result = measure.engine_measurement(storage)(tmp_path)
        assert result["ask_ms"] > 0 and result["tell_ms"] > 0 and result["median_ms"] <= result["p95_ms"]
    assert len(engine.read(tmp_path / "journal.study").complete) == 6
    assert len(engine.read(f"sqlite:///{tmp_path}/sqlite.study").complete) == 6


def test_efficiency_is_the_busy_share_of_all_workers(tmp_path: Path) -> None:
    evaluate = Sleep(0.05, tmp_path / "notes")
    settings = engine.SearchSettings(journal=tmp_path / "j", trials=4, proposals=40, seed=0)
    engine.search(measure.make_space(), measure.price, evaluate, settings, InProcess(evaluate))
    notes = [line.split() for line in (tmp_path / "notes").read_text().splitlines()]
    result = measure.utilisation(notes, 1, float(notes[0][1]))
    assert result["processes"] == 1 and result["startup_s"] == 0 and 0 < result["efficiency"] <= 1
    two = measure.utilisation(notes, 2, float(notes[0][1]))
    assert two["efficiency"] == pytest.approx(result["efficiency"] / 2)
    lengths = [float(end) - float(begin) for _, begin, end in notes]
    assert all(length >= 0.025 for length in lengths)


def test_the_page_marks_simulated_figures_and_missing_runs(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs")
    times = {f"{key}_ms": 1.5 for key in ("ask", "tell", "median", "mean", "p95")}
    folder.write_json("engine-journal.json", times | {"machine": MACHINE, "revision": "commit 1"})
    for count, efficiency in ((1, 0.99), (64, 0.95)):
        folder.write_json(
            f"local-{count}.json",
            {
                "efficiency": efficiency,
                "trials": 4 * count,
                "startup_s": 1.0,
                "makespan_s": 9.0,
                "machine": MACHINE,
                "revision": f"commit {1 + (count > 1)}",
            },
        )
    benchmark = Cluster("gatesearch bench cluster", folder, tmp_path)
    rows, path = benchmark.rows(), benchmark.publish()
    assert [(row.name, row.provenance, row.target) for row in rows] == [
        ("engine, a trial, journal on disk", "measured", "<= 5"),
        ("efficiency, 1 workers, local", "measured", None),
        ("efficiency, 64 workers, local", "simulated", ">= 0.9"),
    ]
    page = path.read_text()
    assert "| 64 | 95.0 % | 256 | 1.0 s | 9.0 s | simulated |" in page and "| 32 | not run |" in page
    assert "Made by commit 1: engine with journal, local with 1; by commit 2: local with 64." in page
    assert (tmp_path / "cluster" / "cluster.png").stat().st_size > 0
    assert len(json.loads((tmp_path / "cluster" / "rows.json").read_text())) == 3
    assert set(WORKERS) >= {1, 64}
