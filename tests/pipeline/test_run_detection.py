"""Tests of a whole run with the goal detection on synthetic scenes, and of ``gatesearch listen`` with its bundle."""

import json
import wave
from pathlib import Path

import pytest
import torch
from torch import nn

import gatesearch
from gatesearch.cli import app
from tests.training.test_detection import HOP_S, RATE, data, loud_scene

SETTINGS = {
    "goal": "detection",
    "stream": {"fa_per_hour": 60.0},
    "space": {
        "gates": {"min": 1, "max": 1},
        "sites": ["1"],
        "kinds": {"gc": {"mode": ["channel"], "keep": [1.0], "recall": [0.9]}},
    },
    "training": {"epochs": 12, "batch_size": 10, "learning_rate": 0.01},
    "search": {"trials": 1, "epochs": 1},
    "retrain": {"epochs": 2},
    "constraints": {"max_accuracy_drop": None, "max_miss_rise": 0.1, "min_gate_recall": None, "max_utilisation": None},
    "verify": {"gate_agreement": 0.0, "prediction_agreement": 0.0},
    "battery": {"mah": 220.0, "volts": 3.0, "efficiency": 0.8},
}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Unflatten(1, (1, 10, 5)),
        nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 2),
    )


def check_rivals(stream: dict) -> None:
    """Check the rivals of a run: all except ``smaller_ungated``, because the network has no argument for its width."""
    rivals, allowed_rate = stream["rivals"], SETTINGS["stream"]["fa_per_hour"]
    assert list(rivals) == ["ungated_hops", "ungated_windows", "level_gate", "hand_placed"]
    assert "cannot be made smaller" in stream["missing_rivals"]["smaller_ungated"]
    assert all(row["validation"]["fa_per_hour"] <= allowed_rate for row in rivals.values())
    assert rivals["ungated_hops"]["miss_rate"] == rivals["ungated_windows"]["miss_rate"]
    assert rivals["ungated_hops"]["mean_power_mw"] <= rivals["ungated_windows"]["mean_power_mw"]
    gate = rivals["level_gate"]["signal_gate"]
    assert gate is None or gate["statistic"] in ("spread", "level", "flatness")
    assert [placed["site"] for placed in rivals["hand_placed"]["plan"]["gates"]] == ["1"]
    for row in (stream["picked"], *rivals.values()):
        assert sum(part["power_mw"] for part in row["parts"]) == pytest.approx(row["mean_power_mw"])
        assert sum(row["power_by_term_mw"].values()) == pytest.approx(row["mean_power_mw"])
        assert row["battery_days"] == pytest.approx(220.0 * 3.0 * 0.8 / row["mean_power_mw"] / 24)
        assert row["mean_power_interval_mw"] == [row["mean_power_mw"]] * 2  # this device states no ranges
        assert [part["open_share"] for part in row["parts"][-len(row["reach"]) :]] == pytest.approx(row["reach"])
        assert len(row["latencies_ms"]) == round(20 * (1 - row["miss_rate"]))
        assert row["perfect_gates"]["macs_per_hop"] >= 0 and row["perfect_gates"]["mean_power_mw"] > 0
    ungated = rivals["ungated_hops"]  # without gates, perfect gates change nothing
    assert ungated["perfect_gates"] == {key: ungated[key] for key in ("mean_power_mw", "macs_per_hop")}
    strongest = rivals[stream["strongest_rival"]]
    assert stream["power_gain"] == pytest.approx(strongest["mean_power_mw"] / stream["picked"]["mean_power_mw"])
    power = stream["timeline"]["whole"]["power_mw"]
    mean = sum(sum(values) / len(values) for values in power.values())
    assert mean == pytest.approx(stream["picked"]["mean_power_mw"], rel=0.02)
    assert len(stream["timeline"]["events"]) == 20


def test_a_run_on_scenes_says_what_it_detects_and_its_bundle_listens(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "run"
    gatesearch.run(network(), data(windows=300), out=folder, **SETTINGS)
    summary = json.loads((folder / "summary.json").read_text())
    stream = summary["stream"]
    assert (stream["events"], stream["hop_ms"], round(stream["hours"] * 3600)) == (20, 1e3 * HOP_S, 120)
    picked, ungated = stream["picked"], stream["rivals"]["ungated_windows"]
    assert ungated["miss_rate"] <= 0.2
    assert ungated["validation"]["fa_per_hour"] <= 60.0 and picked["validation"]["fa_per_hour"] <= 60.0
    assert picked["gate_misses"] + picked["network_misses"] == round(20 * picked["miss_rate"])
    assert summary["best"]["miss_rate"] == picked["miss_rate"] and summary["best"]["accuracy"] is None
    energy_uj = picked["mean_power_mw"] * HOP_S * 1e3
    assert summary["sensitivity"]["nominal"]["gain"] == pytest.approx(summary["best"]["gain_end_to_end"])
    assert energy_uj == pytest.approx(summary["best"]["expected_energy_uj"])
    check_rivals(stream)
    assert "too short to claim 60 false accepts" in stream["doubt"]  # two minutes of stream
    assert f"test stream: {stream['doubt']}" in summary["warnings"]
    assert "test stream: 0.0333 h of stream is too short" in capsys.readouterr().err.replace("\n", " ")
    assert not any("repeat another" in line for line in summary["warnings"])
    assert summary["listening"] is None  # the network runs whole windows

    page = (folder / "report.html").read_text()
    assert "The test stream" in page and "20 events in" in page and "events detected, test stream" in page
    assert "fidelity" not in page

    scene = loud_scene("recording", 9)
    with wave.open(str(tmp_path / "recording.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(scene.samples.tobytes())
    capsys.readouterr()
    assert app.main(["listen", str(folder), str(tmp_path / "recording.wav")]) == 0
    output = capsys.readouterr()
    assert "listened to" in output.err
    lines = output.out.splitlines()
    assert lines and all(line.split()[1] == "burst" for line in lines)
