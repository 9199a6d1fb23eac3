from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatesearch.bench import run as bench
from gatesearch.bench.search import supernet_page as page
from gatesearch.bench.search import table as tables
from gatesearch.bench.search.spaces import trained
from gatesearch.errors import UserError
from gatesearch.plan import GatePlan

TABLE = Path(__file__).parents[2] / "results" / "gatebench" / "kws16.json.gz"
ABOUT = {"epochs": 8, "plans": 2, "front": 4, "sample": 8, "bar": 0.6, "command": "x", "machine": "m", "versions": {}}
Recording = Callable[..., page.Found]


@pytest.fixture(scope="module")
def table() -> tables.Table:
    return tables.read(TABLE, "kws16")


@pytest.fixture
def recording(table: tables.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recording:
    """A recording whose estimates are the table's qualities with noise, and whose trainings again are the table's."""
    monkeypatch.setattr(page, "SEEDS", range(1))
    monkeypatch.setattr(page, "EVALUATIONS", 12)

    def made(noise: float = 0.0, again: float = 0.0) -> page.Found:
        generator = np.random.default_rng(0)
        first = {plan.gates: i for i, plan in reversed(list(enumerate(table.plans)))}
        kept: dict[str, Any] = {
            "table": "kws16",
            "beside": page.beside(table),
            "about": ABOUT,
            "train_seconds": 2.0,
            "read_seconds": 3.0,
        }
        kept |= {"alone_seconds": [0.2, 0.4], "estimates": [], "again": {}}
        for gates, i in first.items():
            quality = 1 - float(table.errors[i, -1])
            kept["estimates"].append(
                {
                    "gates": [gate.to_dict() for gate in gates],
                    "quality": 0.5 * quality + noise * generator.standard_normal(),
                    "passed": {kind: list(row) for kind, row in table.passed[i][-1].items()},
                }
            )
            name = GatePlan(trained(GatePlan(gates), {"gc": ["recall"]})).digest
            row = {"trained": name, "seconds": 0.5 * float(table.seconds[table.training[i], -1]), "readings": []}
            kept["again"].setdefault(name, row)["readings"].append(
                {
                    "after": [[gate["recall"]] for gate in gates],
                    "quality": quality + again * generator.standard_normal(),
                }
            )
        kept["again"] = list(kept["again"].values())[:20]
        path = tmp_path / page.FILE
        path.write_text(json.dumps(kept))
        found = page.read([table], path)
        assert found is not None
        return found

    return made


def test_a_supernet_that_orders_plans_as_trainings_do(recording: Recording, table: tables.Table) -> None:
    found = recording()
    taus = found.taus
    assert all(tau == pytest.approx(1.0) for tau, _ in taus.values())
    assert taus["supernet"][1] == len({plan.gates for plan in table.plans})
    assert taus["again"][1] == len(found.again) < taus["supernet"][1]
    assert found.faster == pytest.approx(0.5) and found.shared == 5.0
    assert found.seconds([0, 0]) == pytest.approx(0.5 * table.seconds[table.training[0], -1])
    values = {row.name: row for row in page.rows(found, "x")}
    every = values["kws16: training every combination over training and reading the supernet"]
    assert every.value == pytest.approx(0.5 * table.seconds[:, -1].sum() / 5.0) and every.target == ">= 20"
    # Its scale is half of the trainings', which the sample puts right: what it finds is the table's front.
    [outcome] = found.runs.values()
    assert outcome["tau"] == pytest.approx(1.0) and outcome["volume"] > 0.95
    assert outcome["seconds"] > found.shared
    text = page.section(found)
    assert "| the supernet and a training, all combinations | 1.00 | 291 |" in text and "read in 0.40 s at most" in text


def test_noise_of_either_side_lowers_tau(recording: Recording) -> None:
    estimates, trainings = recording(noise=0.05).taus, recording(again=0.05).taus
    assert estimates["supernet"][0] < 0.8 and estimates["again"][0] == pytest.approx(1.0)
    assert trainings["supernet"][0] == pytest.approx(1.0)
    assert trainings["again"][0] < trainings["supernet against both"][0] < 0.95


def test_nothing_is_said_where_nothing_was_recorded(tmp_path: Path, table: tables.Table) -> None:
    assert page.read([table], tmp_path / page.FILE) is None
    assert page.section(None) == "" and page.rows(None, "x") == []


def test_a_supernet_beside_trainings_of_another_length_is_not_shown(
    recording: Recording, table: tables.Table, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording()
    longer = replace(table, about={**table.about, "clips": 1})
    assert page.read([longer], tmp_path / page.FILE) is None
    assert "is beside another table kws16: make it again: x" in capsys.readouterr().out


def test_a_supernet_is_recorded_beside_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no table .*kws16\.json\.gz; make it: gatesearch bench search record=kws16"):
        bench("search", ["record=supernet"])
    with pytest.raises(UserError, match="nearest: 'supernet'"):
        bench("search", ["record=supernets"])
