"""Tests of the command ``compare``: tables of 80 columns, a page, and a line for each run that cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gatesearch.cli import app
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.report.runs import list_differences, read_run

FRONT = [(0.9, 900.0), (0.8, 400.0)]
PICKED = {"miss_rate": 0.12, "fa_per_hour": 5.5, "mean_power_mw": 0.54}


def write_run(folder: Path, goal: str = "classification", seed: int = 0, **summary: Any) -> Path:
    """Write the files of a finished run that the comparison reads."""
    trials = [
        {
            "number": number,
            "state": "complete",
            "digest": f"plan{number}",
            "accuracy": accuracy,
            "expected_energy_uj": energy_uj,
            "on_front": True,
            "feasible": True,
            "plan": {"gates": [], "cores": ["mcu"]},
        }
        for number, (accuracy, energy_uj) in enumerate(FRONT)
    ]
    files = {
        "recipe.yaml": {},
        "summary.json": {
            "goal": goal,
            "data": {},
            "baseline": {"accuracy": 0.91},
            "best": {"digest": "plan1", "accuracy": 0.8, "expected_energy_uj": 400.0},
            "export": {"artifacts": [{"path": "mcu/stage0.tflite", "bytes": 4592}]},
            "stream": {"picked": PICKED} if goal == "detection" else None,
        }
        | summary,
        "record.json": {
            "trials": trials,
            "data": {"period_s": 1.0},
            "goal": {"name": goal, "quality": "accuracy"},
            "revision": "gatesearch 0.1.0, commit abc",
        },
        "logs/origin.json": {"recipe": {"seed": seed, "device": "three_core"}, "data": {"train": "ab"}},
    }
    run = RunFolder(folder)
    for name, content in files.items():
        run.write_json(name, content)
    return folder


def write_unfinished(folder: Path) -> Path:
    """Write the files of a run that has not ended."""
    RunFolder(folder).write_json("recipe.yaml", {})
    return folder


def test_runs_stand_beside_each_other_in_80_columns_and_on_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(write_run(tmp_path / f"run-{seed}", seed=seed)) for seed in range(3)]
    page = tmp_path / "beside.html"
    assert app.main(["compare", *folders, f"out={page}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "recipe seed: A 0; B 1; C 2" in lines
    assert not any(line.startswith("recipe device") for line in lines)
    table = [line for line in lines if line.startswith(("A  plan1", "B  plan1", "C  plan1"))]
    assert len(table) == 3 and all(len(line) <= 80 and "80.0 %" in line and "400 uW" in line for line in table)
    text = page.read_text()
    assert text.count("<svg") == 1 and "recipe seed" in text and "http://" not in text.replace("http://www.w3.org", "")


def test_runs_of_unlike_goals_have_tables_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips, stream = write_run(tmp_path / "clips"), write_run(tmp_path / "stream", "detection")
    assert app.main(["compare", str(clips), str(stream), f"out={tmp_path / 'page.html'}"]) == 0
    out = capsys.readouterr().out
    assert "the runs have unlike goals (classification, detection); each goal has tables of its own" in out
    assert "12.0 %" in out and "540 uW" in out
    assert (tmp_path / "page.html").read_text().count("<svg") == 2


def test_runs_are_compared_in_one_json_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [write_run(tmp_path / str(seed), seed=seed) for seed in range(2)]
    page = tmp_path / "page.html"
    assert app.main(["compare", *map(str, runs), f"out={page}", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(run["name"], run["run"], run["best"]["digest"]) for run in document["runs"]] == [
        ("A", str(runs[0]), "plan1"),
        ("B", str(runs[1]), "plan1"),
    ]
    assert document["differences"]["classification"] == {"recipe seed": {"0": ["A"], "1": ["B"]}}
    assert (document["refused"], document["page"], page.is_file()) == ([], str(page), True)


def test_each_run_that_cannot_be_compared_has_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = [str(write_run(tmp_path / name)) for name in ("one", "two")]
    reasons = {
        write_run(tmp_path / "damaged"): "record.json: is damaged: its sha256 is ",
        write_run(tmp_path / "incomplete"): "summary.json: is missing, and the run wrote it; write it again: ",
        write_unfinished(tmp_path / "unfinished"): "the run has not ended",
        tmp_path / "none": "no such run folder",
    }
    (tmp_path / "damaged" / "record.json").write_text("{")
    (tmp_path / "incomplete" / "summary.json").unlink()
    page = tmp_path / "page.html"
    assert app.main(["compare", *whole, *map(str, reasons), f"out={page}"]) == 0
    lines = capsys.readouterr().err.splitlines()
    for line, reason in zip(lines, reasons.values(), strict=True):
        assert line.startswith("warning: compare: ") and reason in line
    assert page.read_text().count("Left out: ") == len(reasons)


def test_a_run_without_digests_is_compared_with_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = write_run(tmp_path / "one"), write_run(tmp_path / "two")
    (two / "logs" / "checksums.json").unlink()
    assert app.main(["compare", str(one), str(two), f"out={tmp_path / 'page.html'}"]) == 0
    line = f"warning: {two}/logs/checksums.json: no such file; the run's files are read without digests"
    assert capsys.readouterr().err.splitlines() == [line]


def test_fewer_than_two_runs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["compare", str(write_run(tmp_path / "one")), str(tmp_path / "none")]) == 2
    assert "1 of 2 runs can be compared; wanted: 2 or more" in capsys.readouterr().err
    assert app.main(["compare"]) == 2
    assert "got 0 runs; wanted: 2 to 26 run folders" in capsys.readouterr().err


def test_a_pick_differs_from_its_run_in_the_choice_alone(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    pick = write_run(run / "picks" / "plan0", pick={"choice": "plan=plan0"})
    (pick / "recipe.yaml").unlink()
    (pick / "logs/origin.json").unlink()
    differences = list_differences([read_run("A", run), read_run("B", pick)])
    assert differences == {"choice of the plan": {"the recipe's rule": ["A"], "plan=plan0": ["B"]}}
