"""Tests of JSON documents: they are alone on standard output, and an unfinished step gives null."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gatesearch.cli import app
from gatesearch.cli.json_results import PARITY_KEYS, describe_result, divert_lines
from gatesearch.pipeline import run as pipeline
from gatesearch.pipeline.result import RunResult
from gatesearch.plan import GatePlan
from tests.cli.test_compare import write_run


def result(**parts: Any) -> Any:
    empty = dict.fromkeys(("best", "parity", "record")) | {"folder": SimpleNamespace(path=Path("runs/one"))}
    return SimpleNamespace(**(empty | {"shortfalls": ()} | parts))


def test_a_step_that_has_not_run_gives_null() -> None:
    assert describe_result(result()) == {
        "run": "runs/one", "plan": None, "parity": None, "shortfalls": [], "summary": None
    }  # fmt: skip


def test_a_verified_plan_gives_digest_and_parity() -> None:
    assert set(PARITY_KEYS) <= {"gate_agreement", "prediction_agreement", "max_abs_error", "samples", "output_snr_db"}
    parity = SimpleNamespace(**dict.fromkeys(PARITY_KEYS, 1.0), exits=object())
    document = describe_result(result(best=object(), plan=GatePlan(), parity=parity))
    assert document["plan"]["digest"] == GatePlan().digest
    assert document["parity"] == dict.fromkeys(PARITY_KEYS, 1.0)
    assert "best" in RunResult.__dataclass_fields__ and json.dumps(document)


def test_lines_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with divert_lines(True):
        print("training")
    assert capsys.readouterr() == ("", "training\n")


def test_report_prints_the_summary_of_a_finished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pipeline, "report", lambda path, trust: print(f"report: {path}"))
    folder = write_run(tmp_path / "one")
    assert app.main(["report", str(folder), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["best"]["digest"] == "plan1" and err == f"report: {folder}\n"
    (folder / "summary.json").unlink()
    assert app.main(["report", str(folder), "--json"]) == 2
    assert "has no summary.json until it ends" in capsys.readouterr().err
