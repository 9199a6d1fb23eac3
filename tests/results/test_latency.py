"""Tests of the benchmark of latencies: random plans, gates set to a share of work, and the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gatesearch.errors import UserError
from gatesearch.gates import build_gate, cut_gates
from gatesearch.gates.pg import PGConv2d
from gatesearch.plan import GatePlan, PlacedGate
from results import latency
from results.latency import bundles, models
from results.latency.page import Latency


def row(backbone: str, measured: float, predicted: float) -> dict[str, Any]:
    plan = GatePlan((PlacedGate.of("fbs", "conv1.0", density=0.5, block=16),), ("host",))
    stamp = {"cpu": "x", "cores": 2, "flags": ["avx2"], "python": "3.11", "versions": {"torch": "2"}}
    times = {"measured_us": measured, "predicted_us": predicted, "noisy": False}
    return {"backbone": backbone, "plan": plan.to_dict(), "machine": stamp, **times}


def test_plans_are_drawn_by_their_seed_and_differ() -> None:
    subject = models.build_subject("DS-CNN, width 64")
    plans = [models.random_plan(subject, seed) for seed in range(30)]
    assert plans == [models.random_plan(subject, seed) for seed in range(30)]
    assert len(set(plans)) > 25 and {gate.kind for plan in plans for gate in plan.gates} == {"gc", "fbs", "pg"}
    assert {len(cut_gates(plan)) for plan in plans} == {0, 1, 2}
    sites = {site.name: site for site in subject.layers}
    assert all(models.has_kernel(g, sites[g.site]) for plan in plans for g in plan.gates if g.site in sites)


def test_a_gate_can_be_set_to_open_a_share_of_its_outputs() -> None:
    torch.manual_seed(0)
    subject = models.build_subject("M-CifarNet, half width")
    site = next(site for site in subject.layers if site.name == "conv3.0")
    gate = build_gate(
        site, PlacedGate.of("pg", site.name, mask="m2-16", **models.PG_BITS), torch.nn.Conv2d(64, 64, 3, padding=1)
    )
    assert isinstance(gate, PGConv2d)
    x = torch.rand(1, *site.shape_in)
    gate.eval()
    with torch.no_grad():
        bundles._open(gate, x, 0.3)
    gate.reset()
    gate(x)
    assert gate.report()["sparsity"] == pytest.approx(0.7, abs=0.02)


def test_the_structure_of_a_module_depends_on_shapes_and_not_on_weights() -> None:
    first, second = (torch.nn.Sequential(torch.nn.Conv2d(2, n, 1), torch.nn.ReLU()) for n in (3, 3))
    other = torch.nn.Sequential(torch.nn.Conv2d(2, 4, 1), torch.nn.ReLU())
    assert bundles.structure(first) == bundles.structure(second) != bundles.structure(other)


def test_the_page_marks_missed_targets_and_missing_runs(tmp_path: Path) -> None:
    rows = [row("DS-CNN, width 64", 100.0, p) for p in (101.0, 95.0, 112.0)]
    table = {"DS-CNN, width 64": {"timings": 40, "noisy": 1, "seconds": 3.0}}
    text = Latency("gatesearch bench latency", rows, table, 8, tmp_path).publish().read_text()
    assert "| within +-10 % | 66.7% | at least 95 % | **not reached** |" in text
    assert "| median error | 5.0% | at most 3 % | **not reached** |" in text
    assert "| KWS-GRU | 0 of 8 | not run |" in text and "| DS-CNN, width 64 | 3 of 8 |" in text
    assert "+12.0%" in text and "nn-Meter" in text
    assert (tmp_path / "latency" / "latency.png").stat().st_size > 10_000


def test_a_page_without_runs_says_not_run(tmp_path: Path) -> None:
    assert "Not run." in Latency("gatesearch bench latency", [], {}, 8, tmp_path).publish().read_text()


@pytest.mark.parametrize("argument", ["steps=dream", "models=0", "rounds=3", "set=all", "steps=page set=development"])
def test_errors_name_wrong_arguments(argument: str) -> None:
    with pytest.raises(UserError, match="bench latency"):
        latency.main(argument.split())
