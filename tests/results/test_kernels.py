"""Tests of the benchmark of C kernels: its timings, ratios, roofline model and targets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import results
from gatesearch import kernels
from gatesearch.errors import UserError
from results.benchmark import meets_target
from results.kernels import case_timing, cases, roofline, stream_page, streams
from results.kernels.figures import Times, densities, kernel_targets
from results.kernels.page import Kernels


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if kernels.load() is None:
        pytest.skip(kernels.status())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cases, "HIDDEN", (16,))
    monkeypatch.setattr(cases, "PRECISION", {"small": kernels.Geometry((4, 4), 16, 32, (3, 3))})


def test_a_case_is_measured_once_and_the_others_are_shown_as_not_run(
    tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    results.run("kernels", ["groups=rnn,pg,roofline", "rounds=1"])
    rows = json.loads(Path("results/kernels/rows.json").read_text())
    names = [row["name"] for row in rows]
    assert "rnn, 16 units: LSTM HMD" in names and "pg, small: 16/8 m2-16 0.7" in names
    assert all(row["value"] > 0 and row["provenance"] == "measured" for row in rows)
    page = Path("results/kernels/README.md").read_text()
    assert "gatesearch bench kernels groups=rnn,pg,roofline rounds=1" in page and "not run" in page
    assert "GMAC/s in int8" in page and "GB/s from memory" in page
    for name in ("kernels.png", "roofline.png"):
        assert Path("results/kernels", name).stat().st_size > 10_000

    monkeypatch.setattr(case_timing, "interleaved", lambda *_, **__: pytest.fail("measured again"))
    results.run("kernels", ["groups=rnn,pg,roofline", "rounds=1"])
    with pytest.raises(pytest.fail.Exception):
        results.run("kernels", ["groups=rnn", "rounds=2"])


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("group=rnn", "unknown key 'group'; nearest: 'groups'"),
        ("groups=rnm", "unknown group 'rnm'; nearest: 'rnn'"),
        ("rounds=none", "rounds=none: not a whole number from 1"),
        ("rounds=0", "rounds=0: not a whole number from 1"),
    ],
)
def test_errors_quote_wrong_arguments(argument: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        results.run("kernels", [argument])


def test_targets_apply_to_ratios_of_the_right_calls() -> None:
    times = Times(
        {
            **{"16/8 dense": 300.0, "16/8 m2-16 0.7": 200.0, "16/8 m2-16 1": 160.0},
            **{"16/8 3d 0.7": 280.0, "16/8 3d blocks 0.7": 260.0, "16/8 3d 1": 160.0},
            **{"product: own": 12.0, "product: torch._int_mm": 20.0, "product: torch._int_mm, transposed": 10.0},
            **{"fp32: own": 90.0, "fp32: torch": 100.0, "int8: own": 40.0},
            **{f"fbs, both sides, {d:g}": 90 * d * d for d in cases.DENSITIES},
            **{f"fbs, output, {d:g}": 90 * d for d in cases.DENSITIES},
            **{f"fbs int8, both sides, {d:g}": 40 * d * d for d in cases.DENSITIES},
            **{"LSTM dense": 40.0, "LSTM torch": 50.0, "LSTM HMD": 10.0, "LSTM pruned": 30.0},
        }
    )
    result = {target.name.split(",")[0]: target.ratio(times) for target in kernel_targets()}
    assert result == {
        "own int8 product over torch._int_mm": 1.2,
        "fastest dense fp32 over FBS": 4.0,
        "own dense 16x8 over PG 16/8": 1.5,
        "second phase of 3-D masks over that of M2 of 16": 2.5,
        "fastest dense LSTM step over HMD at 4x": 4.0,
        "fastest pruned LSTM step over HMD at 4x": 3.0,
    }
    assert all(meets_target(target.target, target.ratio(times)) for target in kernel_targets())
    assert densities(times)[1] == (0.5, 4.0, 2.0, 4.0)


LISTENED = {
    "machine": {"cpu": "a cpu", "cores": 2, "flags": [], "versions": {}},
    "settings": {"instructions": "portable"},
    "plan": "gc@input(keep=1) on mcu > npu",
    "macs": 2_656_768,
    "test": 775,
    "accuracy": [0.88, 0.89],
    "gate_recall": 0.985,
    "stopped": {"_silence_": 0.99, "_unknown_": 0.3},
    "without": None,
    "frontend_us": {"torch": 100.0, "kernels": 80.0, "5": 20.0, "1": 5.0},
    "streams": {
        f"{other:g}": {
            **{"gated_us": 5.0, "ungated_us": 65.0, "windows": 1000, "invoke_us": 60.0, "always_us": 1.5},
            **{"later_us": [60.0], "reach": [0.045], "kernels": True, "gain": 12.0, "bound": 60 / 4.2, "ratio": 13.0},
            "latency_us": dict.fromkeys(("stopped, median", "stopped, 99 %", "passed, median", "passed, 99 %"), 2.0),
        }
        for other in streams.OTHERS
    },
}


def test_streams_are_compared_with_their_targets(tmp_path: Path) -> None:
    benchmark = Kernels("a command", {}, {"DS-CNN": {0: LISTENED}}, synthetic=False, results=tmp_path)
    by_name = {row.name: row for row in benchmark.rows()}
    assert by_name["ungated .tflite over gated stream, DS-CNN"].value == 12
    assert by_name["bound over gain, DS-CNN"].value == pytest.approx(60 / 4.2 / 12)
    assert "speaker-disjoint" in by_name["stream, DS-CNN: front end, MFCC in torch"].protocol
    page = benchmark.publish().read_text()
    assert "| ungated .tflite over gated stream, KWT | >= 15 | not run | not run |" in page
    assert "**12.0** | 14.3 | 1.19 | 1.5 | 1.6 | 3.2 | 6.5 |" in page  # 1.5 is (60 + 100) / (5 + 100), and so on
    assert "Machine: a cpu, 2 cores" in page


def test_slow_streams_are_marked_as_missing_their_targets() -> None:
    slow = {"streams": {stream_page.MAIN: {"gain": 5.9, "bound": 8.0}}}
    assert [target.met for target in stream_page.targets({"DS-CNN": {0: slow}})] == [False] * 6
    fast = {"streams": {stream_page.MAIN: {"gain": 6.0, "bound": 7.0}}}
    assert [target.met for target in stream_page.targets({"DS-CNN": {0: fast}})] == [True, True, *[False] * 4]


def test_the_roofline_is_the_lower_of_two_limits() -> None:
    roof = roofline.Roof(int8=100.0, fp32=50.0, read={"L2": 10.0})
    dense = roofline.Point("dense", "int8", macs=1e6, bytes=1e4, us=20.0, roof=roof)
    assert dense.intensity == 100 and dense.speed == 50 and dense.share == 0.5
    thin = roofline.Point("step", "fp32", macs=1e6, bytes=4e6, us=1000.0, roof=roof)
    assert thin.share == pytest.approx(1 / 2.5)


def test_every_case_is_timed_in_turn_with_the_limits_of_the_processor(tiny: None) -> None:
    results.run("kernels", ["groups=rnn", "rounds=1"])
    stored = json.loads(Path("runs/bench-kernels/rnn-16-units.json").read_text())
    roof = roofline.Roof.read_times(Times.read(stored, "minimum_us"))
    assert roof.int8 > roof.fp32 > 0 and set(roof.read) == {"L2"}
