"""Tests of the command ``doctor``: missing pieces, their cost, and the exit status."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from gatesearch._lib import plugins
from gatesearch.cli import app, machine

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def findings(capsys: pytest.CaptureFixture[str], status: int = 0) -> dict[str, dict[str, object]]:
    assert app.main(["doctor", "--json"]) == status
    document = json.loads(capsys.readouterr().out)
    assert document["ready"] == (status == 0)
    return {finding["name"]: finding for finding in document["findings"]}


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    installed = plugins._is_installed
    monkeypatch.setattr(plugins, "_is_installed", lambda name: name not in packages and installed(name))


def test_a_machine_that_can_do_a_run_gives_status_0_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    rows = findings(capsys)
    assert rows["Python"]["state"] == rows["extra export"]["state"] == "ok"
    assert not (folder / "runs").exists() and not (folder / "cache" / "gatesearch").exists()


def test_the_table_fits_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    without(monkeypatch, "ray", "espeakng_loader")
    assert app.main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "pip install 'gatesearch[ray]'" in " ".join(out.split())


def test_a_missing_piece_that_every_run_needs_is_an_error_of_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "onnx")
    assert app.main(["doctor"]) == 2
    err = capsys.readouterr().err
    assert err == ("gatesearch: doctor: no run can begin: extra export lacks onnx (pip install 'gatesearch[export]')\n")


def test_a_missing_piece_that_only_some_runs_need_says_what_it_costs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "ray", "espeakng_loader")
    monkeypatch.setenv("PATH", "/nowhere")
    rows = findings(capsys)
    missing = {name for name, row in rows.items() if row["state"] == "missing"}
    assert missing == {"extra speech", "extra ray", "C compiler", *machine.TOOLS}
    assert all(rows[name]["cost"] and rows[name]["remedy"] for name in missing)


def test_a_cache_of_another_user_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    (folder / "elsewhere").mkdir()
    (folder / "cache").mkdir()
    (folder / "cache" / "gatesearch").symlink_to(folder / "elsewhere")
    owner = findings(capsys)["cache's owner"]
    assert owner["state"] == "missing" and "is a link" in str(owner["value"])


def test_a_full_disk_is_an_error(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MIN_FREE_BYTES", 1e21)
    assert findings(capsys, status=2)["run folders"]["cost"] == "a run may need 1e+09 TB"


def test_every_extra_has_a_cost_and_the_range_of_python_is_that_of_the_project() -> None:
    assert list(machine.EXTRA_COSTS) == list(plugins.EXTRAS)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    classified = re.findall(r"Python :: 3\.(\d+)'", str(project["classifiers"]))
    low, high = (minor for _, minor in machine.PYTHON_RANGE)
    assert [int(minor) for minor in classified] == list(range(low, high + 1))
