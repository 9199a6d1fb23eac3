"""Tests that a run warns of files that need another engine than the price assumes, unless firmware runs the plan."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gatesearch._lib import console
from gatesearch.pipeline.firmware import FirmwareRecord
from gatesearch.pipeline.measurements import warn_of_engines
from gatesearch.plan import GatePlan
from tests.cost.test_artifacts import PASSED, cost_on, cut_plan, one_core

FIRMWARE = FirmwareRecord(folder="best/firmware", flash={}, ram={}, hops=1, detections=0, images=[])


def warnings_of(plan: GatePlan, cost: Any, firmware: FirmwareRecord | None) -> list[str]:
    details = {"passed": PASSED, "layers": {}}
    best: Any = SimpleNamespace(trial=SimpleNamespace(plan=plan, details=details))
    with console.collect_warnings() as warnings:
        warn_of_engines(cost, best, firmware)
    return warnings


def test_without_firmware_the_files_are_warned_of() -> None:
    cost = cost_on(one_core("three_core"))
    core, plan = warnings_of(cut_plan(cost), cost, None)
    assert core.startswith("core mcu: its price assumes gatesearch's kernels")
    assert "as its files run" in plan


def test_firmware_runs_the_kernels_that_the_price_assumes(capsys: pytest.CaptureFixture[str]) -> None:
    cost = cost_on(one_core("three_core"))
    assert warnings_of(cut_plan(cost), cost, FIRMWARE) == []
    printed = capsys.readouterr()
    assert "best/firmware runs the kernels that the price assumes" in printed.out + printed.err
