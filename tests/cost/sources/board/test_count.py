"""Tests of instruction counts in the emulator QEMU: counts repeat, and the kit for a Cortex-M runs.

A kit is a folder of C sources that times kernels on a board.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from gatesearch.cli import app
from gatesearch.cost.sources import board
from gatesearch.cost.sources.board import count, kit, shapes
from gatesearch.cost.sources.board import table as tables
from gatesearch.devices import profile
from gatesearch.errors import UserError
from tests import places

SAMPLE = 60  # number of calls: convolutions, feature boosting and suppression (FBS), precision gating (PG)


def test_an_unknown_board_gives_an_error_of_one_line() -> None:
    with pytest.raises(UserError, match="unknown board 'cortex_m5'; nearest: 'cortex_m55'"):
        count.count("cortex_m5", shapes.table_calls())


def test_missing_tools_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="board=cortex_m4: no arm-none-eabi-gcc"):
        count.count("cortex_m4", shapes.table_calls())


@pytest.mark.slow
@pytest.mark.parametrize("board", count.BOARDS)
def test_a_sample_counted_again_is_equal_to_the_instruction(board: str) -> None:
    lacking = count.missing(board)
    if lacking:
        pytest.skip(lacking)
    shipped = tables.load("test", board)
    for tool in ("compiler", "emulator"):
        if count.tools(board)[tool] != shipped.tools[tool]:
            pytest.skip(f"the table was made with {shipped.tools[tool]}, here is {count.tools(board)[tool]}")
    again = count.count(board, list(dict.fromkeys(shapes.table_calls()))[:SAMPLE])
    assert again.readings == shipped.readings[: SAMPLE - 1]  # the first call, which does nothing, has no reading
    assert {r.kernel for r in again.readings} == {"conv", "fbs", "pg"}


@pytest.mark.slow
def test_the_kit_for_a_cortex_m_runs_in_qemu_and_is_imported_as_simulated(tmp_path: Path) -> None:
    lacking = count.missing("cortex_m4") or ("no make" if shutil.which("make") is None else None)
    if lacking:
        pytest.skip(lacking)
    listed = list(dict.fromkeys(shapes.table_calls()))
    kit.write(tmp_path / "kit", listed[:SAMPLE])
    subprocess.run(["make", "-s", "qemu"], cwd=tmp_path / "kit", check=True, capture_output=True, timeout=300)
    with (tmp_path / "kit" / "r.csv").open("w") as file:
        subprocess.run(["make", "-s", "run_qemu"], cwd=tmp_path / "kit", check=True, stdout=file, timeout=300)
    with places.working_in(tmp_path):
        words = ["import=kit/r.csv", "name=emulated", "clock_mhz=120", "device=three_core", "core=mcu"]
        assert app.main(["measure", *words]) == 0
        core = profile.load("emulated.yaml").core("mcu")
        result = board.table_of(core)
    assert result is not None and result.provenance == core.timing.provenance == "simulated"
    shipped = {r.call: r.shortest for r in tables.load("test", "cortex_m4").readings}
    for reading in result.readings:  # counts differ a little, because linking and the timer's phase differ
        assert reading.shortest == pytest.approx(shipped[reading.call], rel=1e-3, abs=5)
