"""Tests of dsl, the benchmark of an audio codec with a light path: its rows, its page and its targets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import results
from gatesearch.errors import UserError
from results import dsl

GATE = {"kind": "dsl", "site": "quantiser", "params": {"share": 0.7, "width": 0.25, "keep": 1.0}}


def outcome(fidelity: float = 0.5, gated: bool = True) -> dict[str, Any]:
    best = {
        "quality": fidelity, "quality_all_heavy": 0.53, "quality_all_light": 0.4, "quality_random": 0.44,
        "snr_db": 4.0, "light_share": 0.7, "expected_macs": 8e6, "expected_energy_uj": 257_000.0,
    }  # fmt: skip
    light = {
        "heavy_over_light_macs": 20.0, "heavy_over_light_params": 10.0, "resident_params": 110_000,
        "shared_macs": 6e6, "heavy_macs": 4e6, "light_macs": 2e5,
    }  # fmt: skip
    return {
        "data": {"source": "made up", "train": 8, "validation": 2, "test": 2},
        "plan": {"gates": [GATE] if gated else [], "cores": ["host"] * (1 + gated)},
        "baseline": {"quality": 0.54, "params": 100_000, "macs": 1e7, "energy_uj": 258_000.0},
        "best": best | (light if gated else {}),
        "parity": {"gate_agreement": 0.97, "output_snr_db": 15.0},
        "streaming": {"gated_us": 300.0, "ungated_us": 400.0},
        "seconds": 60.0,
        "compute_uj": 1500.0,
        "ungated_compute_uj": 2000.0,
        "validation_share": 0.7,
        "curve": {"share": [0.0, 1.0], "switch": [0.53, 0.4], "lot": [0.53, 0.4], "known": [0.53, 0.4]}
        if gated
        else {},
    }


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_finished_runs_are_not_repeated_and_the_page_is_written_after_each_run(place: Path, monkeypatch):
    done = []

    def fake(recipe: Any, folder: Any) -> dict[str, Any]:
        done.append(folder.path.name)
        if recipe.seed == 1:
            raise KeyboardInterrupt
        return outcome(0.5 + 0.01 * recipe.seed)

    monkeypatch.setattr(dsl.measure, "measure", fake)
    arguments = ["fsdd=/some/where/digits.npz", "seeds=0,1", "training.epochs=2"]
    with pytest.raises(KeyboardInterrupt):
        results.run("dsl", arguments)
    page = (place / "results/dsl/README.md").read_text()
    assert "fsdd, 1 seed |" in page and "esc10" in page and "not run" in page
    monkeypatch.setattr(dsl.measure, "measure", lambda recipe, folder: done.append(folder.path.name) or outcome(0.6))
    results.run("dsl", arguments)
    assert done == ["fsdd-0", "fsdd-1", "fsdd-1"]
    page = (place / "results/dsl/README.md").read_text()
    assert "| 20.9 |" in page and "| up to .80 |" in page
    assert "fsdd, 2 seeds" in page and "0.550 (0.500 to 0.600)" in page
    assert "gatesearch bench dsl fsdd=FSDD.npz seeds=0,1 training.epochs=2" in page and "/some" not in page
    rows = {row["name"]: row for row in json.loads((place / "results/dsl/rows.json").read_text())}
    assert rows["fsdd: fidelity, routed by the switch"]["values"] == [0.5, 0.6]
    assert rows["fsdd: share saved of the time a window on this host"]["value"] == pytest.approx(0.25)
    assert rows["fsdd: share saved of the time a window on this host"]["target"] == "0.265"
    assert rows["fsdd: share saved of the energy of computation a window"]["provenance"] == "modelled"
    assert (place / "results/dsl/dsl.png").stat().st_size > 10_000


def test_missed_targets_are_printed(place: Path, monkeypatch):
    monkeypatch.setattr(dsl.measure, "measure", lambda recipe, _: outcome((0.5, 0.6)[recipe.seed]))
    results.run("dsl", ["seeds=0,1"])
    page = (place / "results/dsl/README.md").read_text()
    assert "| routed better than as large a share at random, test | yes, +0.0600 | yes, +0.1600 |" in page
    assert "| routed no better than all heavy, test | yes, +0.0300 | **no**, -0.0700 |" in page
    rows = {row["name"]: row for row in json.loads((place / "results/dsl/rows.json").read_text())}
    whole = rows["synthetic: heavy over light with the part that always runs, MACs"]
    assert whole["value"] == pytest.approx((6e6 + 4e6) / (6e6 + 2e5))


def test_a_plan_without_a_light_path_has_no_ratio(place: Path, monkeypatch):
    monkeypatch.setattr(dsl.measure, "measure", lambda *_: outcome(gated=False))
    results.run("dsl", [])
    page = (place / "results/dsl/README.md").read_text()
    assert "synthetic, 1 seed" in page and "no light path" in page
    assert "a plan with a light path was picked | **no** |" in page and "saved on this host | - |" in page
    names = {row["name"] for row in json.loads((place / "results/dsl/rows.json").read_text())}
    assert "synthetic: light share, test" in names and "synthetic: heavy over light, MACs" not in names


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("fsd=a.npz", "bench dsl: unknown key 'fsd'; nearest: 'fsdd'"),
        ("seeds=a", "bench dsl: seeds=a: seeds are whole numbers"),
        ("training.epoch=3", "unknown key 'epoch'"),
    ],
)
def test_errors_name_wrong_arguments(argument: str, message: str):
    with pytest.raises(UserError) as caught:
        results.run("dsl", [argument])
    assert message in str(caught.value)
