"""Tests of a whole run on images with layer gates, which is interrupted and resumed."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from gatesearch import recipe
from gatesearch.cli import app
from gatesearch.frontends import restore
from gatesearch.gates import layer_gates
from gatesearch.pipeline import export
from gatesearch.pipeline.problem import load_problem
from gatesearch.plan import GatePlan
from gatesearch.runtime.bundle import Bundle
from tests.pipeline.trainings import Trainings
from tests.schema_checks import check_run

TINY = (
    "device=bit_serial",  # priced by a rate of MACs, so prices need no compiled kernels
    "backbone_args={width: 0.125, dropout: 0.0}",
    "augment=null",
    "training.epochs=5",
    "training.averaging=0.8",
    "search.trials=3",
    "search.epochs=1",
    "retrain.epochs=1",
    "pick.attempts=1",
    "constraints.max_accuracy_drop=1.0",
    "verify.gate_agreement=0.0",
    "verify.prediction_agreement=0.98",
    "export.formats=[tflite]",
    # Few layers convert fast.
    "space.layers.sites=[conv2.0,conv3.0]",
    "space.kinds={pg: {bits: [8], high_bits: [4], mask: [m1], target: [0.0]}, "
    "fbs_pg: {density: [0.5], block: [1], bits: [8], high_bits: [4], mask: [3d], target: [0.0]}}",
)


pytestmark = pytest.mark.usefixtures("place")


@pytest.fixture(scope="module")
def finished(place: Path) -> Path:
    """Return the folder of a run that was interrupted in its second trial; the resumed run repeats no training."""
    with pytest.MonkeyPatch.context() as patch:
        fits = Trainings(patch, at=3)
        assert app.main(["run", "recipe=digits_hybrid.yaml", *TINY, "out=finished"]) == 130
        assert fits.count == 3
    with pytest.MonkeyPatch.context() as patch:
        fits = Trainings(patch)
        assert app.main(["run", "resume=finished"]) == 0
        assert fits.count == 2 + 1 + 1  # two trials, the ungated backbone, the best plan
    return place / "finished"


def summary_of(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return result


def test_the_summary_has_the_figures_of_images(finished: Path) -> None:
    summary, best = summary_of(finished), summary_of(finished)["best"]
    keys = {"recipe", "seed", "seconds", "data", "baseline", "search", "best", "export", "streaming"}
    assert keys <= set(summary)
    assert (summary["recipe"], summary["data"]["name"], summary["data"]["synthetic"]) == (
        "digits_hybrid",
        "digits",
        False,
    )
    assert {k: summary["data"][k] for k in ("train", "validation", "test")} == {
        "train": 1079, "validation": 359, "test": 359,
    }  # fmt: skip
    assert summary["data"]["positive_share"] == 1.0
    assert summary["search"]["evaluated"] == 3 and best["accuracy"] > 0.5
    assert summary["export"]["parity"]["samples"] == 359
    assert summary["export"]["parity"]["prediction_agreement"] >= 0.98
    assert best["gate_recall"] == 1.0 and best["activation_sparsity"] == 0.0  # no gate stops a sample


def test_the_cheapest_plan_gates_layers_and_costs_less_than_the_rival(finished: Path) -> None:
    summary = summary_of(finished)
    best, rival = summary["best"], summary["baseline"]
    plan = GatePlan.from_dict(best["plan"])
    assert plan.cores == ("serial",) and layer_gates(plan) == plan.gates
    assert [gate.site for gate in plan.gates] == ["conv2.0", "conv3.0"]
    for ours, theirs in (("expected_macs", "macs"), ("expected_latency_us", "latency_us")):
        assert 0 < best[ours] < rival[theirs]
    assert best["expected_energy_uj"] < rival["energy_uj"] and best["gain_end_to_end"] > 1
    with (finished / "trials.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["state"] == "complete"]
    assert len(rows) == 3 and sum(row["plan"].startswith("no gates") for row in rows) == 1
    energies = {row["digest"]: float(row["expected_energy_uj"]) for row in rows}
    assert min(energies, key=lambda digest: energies[digest]) == plan.digest


def test_the_bundle_runs_in_float_on_raw_images(finished: Path) -> None:
    folder = finished / "best" / "bundle"
    loaded = Bundle(folder)
    [stage] = loaded.manifest["stages"]
    assert stage["arithmetic"] == "float32" and stage["gate"] is None
    assert [artifact["format"] for artifact in stage["artifacts"]] == ["tflite"]
    setting = load_problem(recipe.load(finished / "recipe.yaml"))
    frontend, test = restore(loaded.manifest["frontend"]), setting.data.test
    answers = [loaded(frontend(image[None]).numpy()[0]).label for image in test.inputs[:60]]
    right = sum(answer == label for answer, label in zip(answers, test.labels.tolist(), strict=False)) / 60
    assert right == pytest.approx(summary_of(finished)["best"]["accuracy"], abs=0.25)


def test_the_report_is_there(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html")
    assert "digits" in page and "conv2.0" in page and "nan" not in page.lower().split()


def test_results_begin_with_the_line_that_the_files_are_worse_than_without_gates(finished: Path) -> None:
    """No kernel runs the layers of this device, so its float program computes them in full and masks."""
    first = summary_of(finished)["warnings"][0]
    assert first.startswith("the exported bundle is slower and larger than the ungated int8 program: ")
    assert "on this host" in first and "expected on" not in first  # the device is imagined
    page = (finished / "report.html").read_text()
    assert page.index(first[1:30]) < page.index("<h1>")


def test_a_finished_run_trains_and_exports_nothing(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits, before = Trainings(monkeypatch), (finished / "best" / "bundle" / "manifest.json").read_bytes()
    monkeypatch.setattr(export, "tflite", None)
    summary = summary_of(finished)
    assert app.main(["run", "resume=finished"]) == 0
    assert fits.count == 0
    assert (finished / "best" / "bundle" / "manifest.json").read_bytes() == before
    again = summary_of(finished)
    for group in ("data", "baseline", "best", "export"):
        assert again[group] == summary[group], group


def test_written_files_fit_their_schemas(finished: Path) -> None:
    check_run(finished)
