"""Tests of a whole run on sequences with hybrid matrix decomposition, from search to verification."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gatesearch.cli import app
from gatesearch.gates import layer_gates
from gatesearch.plan import GatePlan
from gatesearch.runtime.bundle import Bundle
from tests.places import working_in

TINY = (
    "backbone_args={hidden: 40, depth: 1}",
    "frontend.average=16",  # sequences of eight steps
    "data.windows_per_subject=20",
    "training.epochs=2",
    "search.trials=3",
    "search.epochs=1",
    "retrain.epochs=1",
    "pick.attempts=1",
    "constraints.max_accuracy_drop=1.0",
    "space.layers.sites=[rnn.0]",
    "device=bit_serial",  # priced by a rate of MACs, so prices need no compiled kernels
    "pick.objective=energy",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("recurrent")
    with working_in(folder):
        assert app.main(["run", "recipe=har_hmd.yaml", *TINY, "out=finished"]) == 0
        yield folder / "finished"


def summary_of(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return result


def test_a_smaller_layer_is_picked_and_priced(finished: Path) -> None:
    summary = summary_of(finished)
    plan = GatePlan.from_dict(summary["best"]["plan"])
    assert [gate.site for gate in layer_gates(plan)] == ["rnn.0"] and summary["data"]["synthetic"]
    for ours, theirs in (("expected_macs", "macs"), ("expected_latency_us", "latency_us")):
        assert summary["best"][ours] < 0.6 * summary["baseline"][theirs]


def test_the_bundle_agrees_with_the_model(finished: Path) -> None:
    parity = summary_of(finished)["export"]["parity"]
    assert parity["prediction_agreement"] == 1.0 and parity["samples"] == 100
    [stage] = Bundle(finished / "best" / "bundle").manifest["stages"]
    assert stage["arithmetic"] == "float32" and stage["gated_layers"][0]["kernel"]["calls"][0]["size"] <= 0.5


def test_the_report_says_that_the_data_are_synthetic(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    assert "synthetic" in page and "rnn.0" in page
