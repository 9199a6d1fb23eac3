"""Tests of kits, the C sources that time kernels on a board.

One kit is built, run on this machine, imported and used for prices.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from torch import nn

from gatesearch.cli import app
from gatesearch.cost.sources import board
from gatesearch.cost.sources.board import kit, runner_output
from gatesearch.cost.sources.board.call_counter import macs_of_call
from gatesearch.cost.sources.board.shapes import EMPTY_CALL, padded_shape
from gatesearch.cost.sources.board.table import call_to_dict
from gatesearch.devices import profile
from gatesearch.errors import UserError
from gatesearch.gates import KernelCall
from gatesearch.kernels import build

ALL = (("inputs", 1.0), ("outputs", 1.0))
SIZES = [(i, o, k) for i in (16, 32, 20) for o in (16, 48) for k in (1, 3)]
CONVS = [KernelCall("conv", padded_shape(4, 4, i, o, k, k, 1), (), ALL) for i, o, k in SIZES]
CALLS = [
    EMPTY_CALL,
    *CONVS,
    KernelCall("fbs", padded_shape(4, 4, 32, 64, 3, 3, 1), (), (("inputs", 1.0), ("outputs", 0.5))),
    *(
        KernelCall("pg", padded_shape(4, 4, 16, 32, 3, 3, 1), (("bytes", 1), ("group", group)), (("open", 0.5),))
        for group in (1, 8, 16, 32)
    ),
    KernelCall("lstm", (1, 6, 20), (("parts", 2),), (("rich", 0.5),)),
    KernelCall("gru", (1, 6, 20), (("parts", 1),), (("rich", 1.0),)),
    KernelCall("gate", (4, 4, 16)),
]
OTHERS = [KernelCall("conv", padded_shape(5, 5, 32, 16, 3, 3, 1), (), ALL)]


pytestmark = pytest.mark.usefixtures("place")


@pytest.fixture(scope="module")
def folder(place: Path) -> Path:
    kit.write(place / "kit", CALLS, OTHERS)
    return place / "kit"


@pytest.fixture(scope="module")
def manifest(folder: Path) -> dict:
    return json.loads((folder / kit.MANIFEST).read_text())


@pytest.fixture(scope="module")
def runner_text(folder: Path) -> str:
    """The output of the kit's runner on this machine, built with little optimisation to save time."""
    try:
        compiler = build.Compiler.find().command
    except build.BuildError as error:
        pytest.skip(str(error))
    if shutil.which("make") is None:
        pytest.skip("no make")
    flags = "-std=gnu11 -O1 -I. -Ikernels"
    subprocess.run(["make", "-s", "linux", f"CC={compiler}", f"FLAGS={flags}", "NATIVE="], cwd=folder, check=True)
    return subprocess.run(["./program"], cwd=folder, check=True, capture_output=True, text=True).stdout


def lines(manifest: dict, unit: str = "cycles") -> list[str]:
    """Return the output of a runner for which a call takes 10 ticks plus one for each multiply-accumulate."""
    rows = []
    for index, call in enumerate(manifest["calls"]):
        kernel_call = KernelCall(call["kernel"], tuple(call["shape"]))
        ticks = 10 if call["kernel"] == "nothing" else 10 + int(macs_of_call(kernel_call))
        rows.append(f"row,{index},{1000 * ticks},{1000 * ticks},{500 if call['kernel'] == 'pg' else 0}")
    count = len(manifest["calls"])
    return ["gatesearch,1", f"kit,{manifest['kit']}", f"unit,{unit}", "tile,2", *rows, f"end,{count}"]


def test_the_folder_is_self_contained_and_has_instructions(folder: Path, manifest: dict) -> None:
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"README.md", "Makefile", "main.c", "rows.h", "manifest.json", "kernels/all.c", "kernels/kernels.h"} <= names
    assert [call["kernel"] for call in manifest["calls"]] == [call.kernel for call in [*CALLS, *OTHERS]]
    assert manifest["kit"] in (folder / "rows.h").read_text()
    assert "gatesearch measure import=" in (folder / "README.md").read_text()


def test_a_folder_that_is_not_a_kit_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="exists already and is not a kit"):
        kit.write(tmp_path, CALLS)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_kit_run_on_this_machine_gives_a_device_that_prices_layers(
    folder: Path, runner_text: str, manifest: dict, place: Path
) -> None:
    (folder / "results.csv").write_text(runner_text)
    assert app.main(["measure", f"import={folder / 'results.csv'}", "name=here"]) == 0
    device = profile.load("here.yaml")
    core = device.cores[0]
    table = board.table_of(core)
    assert table is not None and core.timing.provenance == table.provenance == "measured" and table.unit == "ns"
    assert {r.kernel for r in table.readings} == {"conv", "fbs", "pg", "lstm", "gru", "gate"}
    open_shares = [r.remaining["open"] for r in table.readings if r.kernel == "pg"]
    assert all(abs(share - 0.5) < 0.1 for share in open_shares)
    costs = board.costs_of(core)
    assert costs is not None
    small, large = (nn.Sequential(nn.Conv2d(32, 48, size, padding=size // 2)).eval() for size in (1, 3))
    latencies_us = [
        core.timing.latency_us(board.module_reading(core, costs, m, torch.zeros(1, 32, 4, 4))) for m in (small, large)
    ]
    assert 0 < latencies_us[0] < latencies_us[1]
    reading = next(r for r in table.readings if r.shape == padded_shape(4, 4, 32, 48, 3, 3, 1))
    assert latencies_us[1] == pytest.approx(reading.shortest / 1000, rel=1.0)


def test_imported_cycles_need_a_clock_frequency_and_a_core(
    folder: Path, manifest: dict, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "m.csv").write_text("\n".join(lines(manifest)))
    words = ["measure", f"import={folder / 'm.csv'}", "name=board"]
    assert app.main(words) == 2
    assert "the runner counted cycles" in capsys.readouterr().err
    assert app.main([*words, "clock_mhz=100", "device=three_core"]) == 2
    assert "write core= (mcu, npu, app)" in capsys.readouterr().err
    assert app.main([*words, "clock_mhz=100", "device=three_core", "core=mcu"]) == 0
    device = profile.load("board.yaml")
    timing = device.core("mcu").timing
    assert timing.provenance == "measured" and device.core("npu") == profile.load("three_core").core("npu")
    assert isinstance(timing, profile.Measured)
    assert timing.macs_per_us.value == pytest.approx(100, rel=1e-3)  # one tick each; the empty call is subtracted
    assert timing.frontend_us(1.0) == pytest.approx(profile.load("three_core").core("mcu").timing.frontend_us(1.0))


def test_imported_counts_of_an_emulator_are_marked_as_simulated(folder: Path, manifest: dict) -> None:
    (folder / "q.csv").write_text("\n".join(["QEMU says hello", *lines(manifest, "instructions")]))
    words = ["measure", f"import={folder / 'q.csv'}", "name=counted", "clock_mhz=50", "device=three_core", "core=mcu"]
    assert app.main(words) == 0
    timing = profile.load("counted.yaml").core("mcu").timing
    assert isinstance(timing, profile.Instructions) and timing.provenance == "simulated"
    assert timing.instructions_per_mac.value == pytest.approx(1.0, rel=1e-3) and timing.clock_mhz.value == 50


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-1], "no end line"),
        (lambda rows: [*rows[:6], *rows[7:]], "1 of 22 rows are missing; the first missing row is 2"),
        (lambda rows: [*rows[:7], rows[6], *rows[7:]], "f.csv:8: 'row,2,"),
        (lambda rows: [*rows, "gatesearch,1"], "a second gatesearch line; is this the output of two runs?"),
        (lambda rows: ["gatesearch,7", *rows[1:]], "format '7'; this version reads 1"),
        (lambda rows: [row.replace("unit,cycles", "unit,hours") for row in rows], "unit 'hours' is none of"),
        (lambda rows: [*rows[:5], "row,1,2.5,3,0", *rows[6:]], "'2.5' is not a whole number"),
        (lambda rows: [*rows[:5], "row,1,3000,2000,0", *rows[6:]], "the median time is shorter than the shortest time"),
        (lambda rows: [*rows[:5], "hello", *rows[6:]], "f.csv:6: 'hello': a kit's runner prints no such line"),
        (lambda rows: [*rows[:5], "row,99,1,1,0", *rows[6:]], "the kit has 22 rows"),
        (lambda rows: ["Cortex-M"], "no gatesearch line"),
    ],
)
def test_a_malformed_output_of_a_runner_gives_an_error_of_one_line(manifest: dict, change, message: str) -> None:
    with pytest.raises(UserError) as error:
        runner_output.read("f.csv", "\n".join(change(lines(manifest))), len(manifest["calls"]))
    assert message in str(error.value) and "\n" not in str(error.value) and str(error.value).startswith("f.csv")


def test_results_of_another_kit_or_of_a_changed_manifest_are_refused(
    folder: Path, manifest: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "r.csv"
    source.write_text("\n".join(lines(manifest)).replace(manifest["kit"], "0" * 16))
    assert app.main(["measure", f"import={source}", f"kit={folder}"]) == 2
    assert f"kit '{'0' * 16}', but the manifest" in capsys.readouterr().err
    assert app.main(["measure", f"import={source}"]) == 2
    assert "name the kit's folder: kit=DIR" in capsys.readouterr().err
    changed = dict(manifest, calls=[*manifest["calls"][:-1], call_to_dict(CONVS[0])])
    (tmp_path / kit.MANIFEST).write_text(json.dumps(changed))
    assert app.main(["measure", f"import={source}"]) == 2
    assert "has been changed" in capsys.readouterr().err
