"""Tests of the base class of all benchmarks: pages, rows, plots, and measurements that are not repeated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

import results
from gatesearch.devices.profile import PROVENANCES
from gatesearch.errors import UserError
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.report.rows import Row
from results import arguments, benchmark
from results.benchmark import Benchmark, meets_target, resume

REPOSITORY = Path(__file__).parents[2]


class Example(Benchmark):
    name = "example"

    def rows(self) -> list[Row]:
        rest = {"target": ">= 3", "provenance": "measured", "protocol": "none", "command": self.command}
        return [Row.summarise("gain", {0: 2.0, 1: 4.0, 2: 5.0}, "x", **rest)]

    def page(self) -> Mapping[str, object]:
        return {"gain": "4.0"}

    def plots(self) -> Mapping[str, benchmark.Draw]:
        return {"example.png": lambda path: path.write_bytes(b"plot")}


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(benchmark, "HERE", tmp_path)
    path = tmp_path / "example" / "page.md.j2"
    path.parent.mkdir()
    path.write_text("# Example\n\n    {{ command }}\n\n\n\n{% if gain %}\nGain {{ gain }}.\n{% endif %}\n")
    return path


def test_a_benchmark_writes_page_rows_and_plots_into_its_folder(template: Path, tmp_path: Path) -> None:
    path = Example("gatesearch bench example", tmp_path / "out").publish()
    assert path == tmp_path / "out" / "example" / "README.md"
    page = path.read_text()
    assert page.startswith("# Example\n\n    gatesearch bench example\n\nGain 4.0.\n\nWritten by gatesearch ")
    [row] = json.loads(path.with_name("rows.json").read_text())
    assert row["value"] == 4.0 and row["values"] == [2.0, 4.0, 5.0] and row["target"] == ">= 3" and row["commit"]
    assert path.with_name("example.png").read_bytes() == b"plot"


def test_a_template_with_a_missing_value_is_an_error(template: Path, tmp_path: Path) -> None:
    template.write_text("{{ loss }}")
    with pytest.raises(Exception, match="'loss' is undefined"):
        Example("command", tmp_path).text()


def test_a_measurement_in_the_folder_is_not_repeated(tmp_path: Path) -> None:
    folder, calls = RunFolder(tmp_path), []

    def measure() -> dict[str, int]:
        calls.append(1)
        return {"value": len(calls)}

    assert resume(folder, "a.json", measure) == resume(folder, "a.json", measure) == {"value": 1}


def test_settings_of_a_folder_are_locked(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    arguments.lock_settings(folder, {"epochs": 2})
    arguments.lock_settings(folder, {"epochs": 2})
    with pytest.raises(UserError, match="holds results with epochs 2, not 3; move it away or delete it"):
        arguments.lock_settings(folder, {"epochs": 3})


def test_the_error_names_a_key_without_a_value() -> None:
    with pytest.raises(UserError, match="bench latency: models=: no value; write models=VALUE"):
        arguments.read_keys("bench latency", ["models="], ["models"])


@pytest.mark.parametrize("name", [*results.NAMES, "batch_study"])
def test_every_benchmark_has_its_page_and_its_rows(name: str) -> None:
    folder = REPOSITORY / "results" / name
    rows = json.loads((folder / "rows.json").read_text())
    keys = ["name", "value", "unit", "target", "provenance", "protocol", "seeds", "values", "command", "commit"]
    assert rows and all(list(row) == keys for row in rows)
    assert all(row["provenance"] in PROVENANCES for row in rows)
    for row in rows:
        if row["target"] and row["target"][0] in "<>":
            meets_target(row["target"].partition(" (")[0], row["value"])
    page = (folder / "README.md").read_text()
    images = [part.partition(")")[0] for part in page.split("](")[1:]]
    assert all((folder / link).exists() for link in images if "://" not in link)


def test_a_row_with_an_unknown_provenance_is_refused() -> None:
    with pytest.raises(ValueError, match="accuracy: provenance 'guessed' is none of measured, published, derived"):
        Row.summarise("accuracy", {0: 1.0}, "share", target=None, provenance="guessed", protocol="toy", command="none")
