"""Tests of dsg, the benchmark of gates on bits and channels: its rows, its page, and the papers' figures."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import results
from gatesearch.backbones.m_cifarnet import MCifarNet
from gatesearch.errors import UserError
from gatesearch.graph.sites import layer_sites
from gatesearch.model import GatedModel
from results import dsg
from results.dsg import measure, plot, run
from results.dsg.protocol import DECAYS
from results.dsg.rows import CURVES, MASKED, PAIR, SPECS, TABLES
from results.dsg.run import Bench
from results.dsg.train import Training

TINY = ["device=cpu", "protocol=short", "width=0.0625", "validation=20", "epochs=1", "base_epochs=1", "batch_size=16"]
ROWS = "rows=unquantised,equal-m1"


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, str]]]:
    """Return a function that runs the benchmark on 60 images in an empty folder, and returns the rows of rows.csv."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 60), ("test", 20)):
        arrays[f"y_{part}"] = np.arange(count) % 10
        noise = rng.integers(0, 56, (count, 32, 32, 3))
        arrays[f"x_{part}"] = (noise + 20 * arrays[f"y_{part}"][:, None, None, None]).astype(np.uint8)
    np.savez(tmp_path / "tiny.npz", **arrays)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "SETTLED_ON", 10)

    def call(*arguments: str) -> list[dict[str, str]]:
        results.run("dsg", [f"data.root={tmp_path / 'tiny.npz'}", *TINY, *arguments])
        with Path("results/dsg/rows.csv").open() as file:
            return list(csv.DictReader(file))

    return call


@pytest.fixture
def no_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot, "draw", lambda *_: None)


def result(name: str) -> dict[str, Any]:
    stored = json.loads(Path(f"runs/bench-dsg/short/{name}/result.json").read_text())
    return {key: value for key, value in stored.items() if key != "seconds"}


def test_rows_are_run_once_and_the_others_shown_as_not_run(
    command: Callable[..., list[dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = command(ROWS)
    status = {line["row"]: line["status"] for line in lines}
    assert set(status) == set(SPECS) and [r for r, s in status.items() if s == "run"] == ["unquantised", "equal-m1"]
    page = Path("results/dsg/README.md").read_text()
    assert "not run" in page and "data.root=CIFAR10.npz" in page and str(Path.cwd()) not in page
    assert "| PG 8/2, mask m1 | 91.55 | not run | 12.23 | not run | 7.27 | not run |" in page
    names = {row["name"] for row in json.loads(Path("results/dsg/rows.json").read_text())}
    assert "no gates, not quantised: accuracy" in names and "no gates, not quantised: sparsity" not in names
    assert Path("results/dsg/short.png").stat().st_size > 10_000
    assert not list(Path("runs").rglob("last.pt"))

    monkeypatch.setattr(Training, "train_leg", lambda self: pytest.fail("trained again"))
    monkeypatch.setattr(run.cifar10, "load", lambda *_: pytest.fail("read the data again"))
    Path("results/dsg/README.md").unlink()
    assert command(ROWS) == lines
    assert Path("results/dsg/README.md").read_text() == page


@pytest.mark.usefixtures("no_plot")
def test_a_killed_row_resumes_and_gives_the_same_result(
    command: Callable[..., list[dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    command("rows=hybrid-8-4-x1.92", "dropout=0.5")
    unbroken = result("hybrid-8-4-x1.92-0")
    Path("runs/bench-dsg/short/hybrid-8-4-x1.92-0/result.json").unlink()
    train_leg = Training.train_leg

    def killed(self: Training) -> float:
        if self.step == 1:
            raise KeyboardInterrupt
        return train_leg(self)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Training, "train_leg", killed)
        command("rows=hybrid-8-4-x1.92", "dropout=0.5")
    assert Path("runs/bench-dsg/short/hybrid-8-4-x1.92-0/last.pt").exists()
    monkeypatch.setattr(Training, "__init__", _counting(Training.__init__))
    command("rows=hybrid-8-4-x1.92", "dropout=0.5")
    assert result("hybrid-8-4-x1.92-0") == unbroken
    assert unbroken["steps"] == 2 and unbroken["target"] != 0.0


def _counting(original: Any) -> Any:
    def init(self: Training, model: Any, images: Any, protocol: Any, key_prefix: Any, seed: int) -> None:
        assert key_prefix == "", "the baseline was there"
        original(self, model, images, protocol, key_prefix, seed)

    return init


@pytest.mark.usefixtures("no_plot")
def test_the_test_split_is_used_once_and_last(
    command: Callable[..., list[dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Any] = []
    observe = measure.observe
    monkeypatch.setattr(measure, "observe", lambda model, images: (looked.append(images), observe(model, images))[1])
    benches: list[Bench] = []
    monkeypatch.setattr(dsg, "Bench", lambda *args: benches.append(Bench(*args)) or benches[-1])
    command("rows=equal-3d")
    assert len(looked) > 3
    assert [images is benches[0].data.test for images in looked] == [False] * (len(looked) - 1) + [True]


@pytest.mark.usefixtures("no_plot")
def test_results_of_other_settings_are_not_mixed_in(command: Callable[..., list[dict[str, str]]]) -> None:
    command("rows=unquantised")
    with pytest.raises(UserError, match=r"holds results with epochs 1, not 2; move it away or delete it"):
        command("rows=unquantised", "epochs=2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sedes=1"], r"unknown key 'sedes'; nearest: 'seeds'"),
        (["seeds=a"], r"seeds=a: seeds are whole numbers"),
        (["rows=table3"], r"rows: unknown table or row 'table3'; nearest: 'table2'"),
        (["protocol=long"], r"protocol: unknown protocol 'long'"),
        (["device=tpu"], r"device: unknown device 'tpu'"),
        (["epochs=0"], r"override epochs=0: 0 is out of range; it must be above 0"),
        (["epochs"], r"no '=' in it"),
        (["decay=line"], r"unknown decay 'line'"),
        (["protocol=short", "rows=unquantised"], r"CIFAR-10 has to be downloaded first"),
    ],
)
def test_wrong_arguments_give_an_error_of_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        dsg.main(arguments)


def test_every_row_is_in_a_table_and_the_curves_are_in_the_figure() -> None:
    assert {spec.name for specs in TABLES.values() for spec in specs} == set(SPECS)
    assert all(name == spec.name for name, spec in SPECS.items())
    assert {spec for curve in CURVES.values() for spec in (s.name for s in curve)} == {
        s.name for s in TABLES["figure2"]
    }
    assert len(TABLES["table1"]) == 8 and len(TABLES["table2"]) == 5


def test_the_papers_figures_are_consistent() -> None:
    for spec in MASKED:
        sparsity = measure.Sparsity(spec.published.sparsity or 0.0, 0.0, 0.0)
        assert measure.observed_bits(spec, sparsity) == pytest.approx(spec.published.average_bits, abs=1e-3)
    for spec in PAIR:
        assert measure.saving_paper(spec, spec.goal) == pytest.approx(1.92)


def test_the_first_convolution_is_not_quantised_and_the_classifier_has_no_gate() -> None:
    sites = layer_sites(MCifarNet(width=0.0625), torch.zeros(1, 3, 32, 32))
    kinds = {name: [gate.kind for gate in spec.plan(sites).gates] for name, spec in SPECS.items()}
    assert kinds["unquantised"] == []
    assert kinds["mask-3d"] == ["pg"] * 7 and SPECS["mask-3d"].plan(sites).gates[0].site == "conv1.0"
    assert kinds["fbs-d0.9"] == ["fbs"] * 8
    assert kinds["hybrid-4-2-d0.8"] == ["fbs"] + ["fbs_pg"] * 7


def test_savings_count_the_whole_network() -> None:
    net = MCifarNet()
    sites = layer_sites(net, torch.zeros(1, 3, 32, 32))

    def saved(name: str, **report: float) -> float:
        model = GatedModel(net, SPECS[name].plan(sites), (), 10, layers=sites)
        reports = {gate.site: report for gate in model.plan.gates}
        return measure.saving_of_network(SPECS[name], model, sites, reports)

    dense, first, classifier = 174.3e6, 1.555e6, 1920
    assert saved("unquantised") == saved("uniform-8") == 1.0
    # At a density of 0.5, there are 43.96 million MACs (multiply-accumulates) in convolutions, 0.144 million in
    # predictors, and 0.119 million in the boosting of winners.
    assert saved("fbs-d0.5") == pytest.approx(dense / (43.96e6 + 0.144e6 + 0.119e6), rel=1e-3)
    gated = dense - first - classifier
    expected = dense / (first + classifier + gated * (4 + 0.25 * 4) / 8)
    assert saved("pg-8-4", weighted_sparsity=0.75) == pytest.approx(expected, rel=1e-3)
    # The first convolution has no precision gating, so at 4/2 bits it costs as much as in the network without gates.
    # At a density of 1, predictors and boosting take 0.382 million MACs.
    expected = dense / (0.382e6 + dense * (2 + 0.5 * 2) / 4 + 0.25 * first)
    saving = saved("hybrid-4-2-d1.0", sparsity_winners=0.5, density=1.0)
    assert saving == pytest.approx(expected, rel=2e-3)


def test_the_papers_rate_falls_to_a_tenth_every_50_of_200_epochs() -> None:
    rates = [0.3 * DECAYS["steps"](epoch / 200) for epoch in (0, 49, 50, 100, 150, 199)]
    assert rates == pytest.approx([0.3, 0.3, 0.03, 0.003, 0.0003, 0.0003])
    assert DECAYS["cosine"](0.0) == 1.0 and DECAYS["cosine"](1.0) == pytest.approx(0.0)
