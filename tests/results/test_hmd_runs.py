"""Tests of hmd_runs, the benchmark of two recurrent recipes: its runs, its page and its arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import results
from gatesearch.errors import UserError
from results import hmd_runs


def outcome(drop: float = 0.01) -> dict[str, Any]:
    gate = {"kind": "hmd", "site": "rnn.0", "params": {"factor": 2}}
    return {
        "data": {"source": "made up", "synthetic": False, "train": 8, "validation": 2, "test": 2},
        "baseline": {"accuracy": 0.9, "macs": 1000},
        "best": {"accuracy": 0.88, "expected_macs": 500.0, "plan": {"gates": [gate], "cores": ["host"]}},
        "search": {"evaluated": 13},
        "streaming": {"gated_us": 230.0, "ungated_us": 200.0},
        "seconds": 60.0,
        "parity": {"prediction_agreement": 1.0},
        "validation": {"ungated": 0.9, "plan": 0.9 - drop},
        "bar": 0.03,
        "space": 13,
        "front": [{"plan": "hmd@rnn.0", "accuracy": 0.89, "us": 210.0}],
        "step": {"ungated": {"minimum_us": 4.0, "median_us": 5.0}, "plan": {"minimum_us": 3.0, "median_us": 3.5}},
        "runtime": {"name": "C kernels, whole steps", "kernels": "kernels: avx2"},
    }


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_recipes_run_once_on_their_data_and_the_page_shows_the_target(place: Path, monkeypatch):
    calls = []

    def fake(recipe: Any, folder: Any) -> dict[str, Any]:
        calls.append((folder.path.name, recipe.data.arguments["root"]))
        return outcome(0.01 if recipe.name == "har_hmd" else 0.05)

    monkeypatch.setattr(hmd_runs.measure, "measure", fake)
    for _ in range(2):
        results.run("hmd_runs", ["har=/some/where/windows.npz"])
    assert calls == [("speech-synthetic-0", None), ("har-0", "/some/where/windows.npz")]
    page = (place / "results/hmd_runs/README.md").read_text()
    assert "gatesearch bench hmd_runs har=har_windows.npz" in page and "/some" not in page
    assert "13 of 13 plans tried" in page and "drops by +0.050" in page.replace("\n", " ")
    assert (
        page.count("**misses**") == 1
        and "ungated by LiteRT in float, the plan by its bundle, us | 200.0 | 230.0 |" in page
    )
    rows = {row["name"]: row for row in json.loads((place / "results/hmd_runs/rows.json").read_text())}
    assert rows["har_hmd.yaml: accuracy, validation, plan"]["value"] == pytest.approx(0.89)


def test_errors_name_wrong_arguments():
    with pytest.raises(UserError, match="unknown key 'hra'; nearest: 'har'"):
        results.run("hmd_runs", ["hra=a.npz"])
