"""Tests that the figures of small whole runs equal recorded figures; golden_runs.py describes the runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.golden import golden_runs


def assert_recorded(name: str, folder: Path, flags: tuple[str, ...] = ()) -> None:
    record = json.loads(golden_runs.record_path(name).read_text())
    now = golden_runs.run(name, folder, flags)
    if golden_runs.machine() == record["machine"]:
        result = golden_runs.differences(now, {key: record[key] for key in ("summary", "trials")})
    else:
        result = golden_runs.differences_elsewhere(now, record)
    assert not result, "\n".join(result)


def test_a_quick_run_gives_the_recorded_figures(tmp_path: Path) -> None:
    assert_recorded("quick", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in golden_runs.SETTINGS if name != "quick"])
def test_a_run_gives_the_recorded_figures(name: str, tmp_path: Path) -> None:
    assert_recorded(name, tmp_path)


@pytest.mark.slow
def test_a_run_without_asserts_gives_the_recorded_figures(tmp_path: Path) -> None:
    assert_recorded("quick", tmp_path, ("-O",))


@pytest.mark.parametrize("name", golden_runs.SETTINGS)
def test_a_record_equals_itself_and_differs_from_a_changed_one_in_both_comparisons(name: str) -> None:
    record = json.loads(golden_runs.record_path(name).read_text())
    assert golden_runs.differences(record, record) == []
    assert golden_runs.differences_elsewhere(record, record) == []
    changed = json.loads(golden_runs.record_path(name).read_text())
    changed["summary"]["baseline"]["macs"] += 1
    assert len(golden_runs.differences(changed, record)) == 1
    assert len(golden_runs.differences_elsewhere(changed, record)) == 1


def test_a_record_lacks_the_figures_that_are_left_out_and_says_so() -> None:
    for name in golden_runs.SETTINGS:
        record = json.loads(golden_runs.record_path(name).read_text())
        assert golden_runs._without(record["summary"], "") == record["summary"]
        assert record["left_out"] == dict(golden_runs.LEFT_OUT)
