"""Tests of streams, the benchmark of a wake word on streams: its recipe, its page and its arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import results
from gatesearch.errors import UserError
from results import streams
from results.streams.measure import load_recipe

PATHS = {"words": "/some/where/words", "talk": "/some/where/talk", "sounds": "/some/where/esc10.npz"}

PERFECT = {"perfect_gates": {"mean_power_mw": 0.85, "macs_per_hop": 100.0}}


def entry(miss_rate: float, power_mw: float, open_share: float = 1.0) -> dict[str, Any]:
    stage = {"name": "stage 0", "open_share": open_share, "openings_per_hour": 30.0}
    return {
        "miss_rate": miss_rate,
        "fa_per_hour": 2.0,
        "latency_p50_ms": 300.0,
        "mean_power_mw": power_mw,
        "parts": [stage],
        "stop_by_background": {"quiet": 0.9, "speech": 0.5},
        "signal_gate": None,
    }


def outcome(power_mw: float = 1.0, synthetic: bool = False) -> dict[str, Any]:
    curve = {"fa_per_hour": [40.0, 10.0, 1.0], "miss_rate": [0.02, 0.05, 0.1]}
    return {
        "title": "wake word",
        "data": {"synthetic": synthetic},
        "best": {"plan": {"gates": [], "cores": ["mcu"]}},
        "search": {"evaluated": 4},
        "seconds": 60.0,
        "stream": {
            "hours": 1.0,
            "events": 300,
            "operating_point": {"fa_per_hour_wanted": 2.0},
            "picked": entry(0.105, power_mw, 0.1),
            "rivals": {"ungated_hops": entry(0.1, 3.0), "level_gate": entry(0.11, 2.0)},
            "curves": {"picked": curve, "ungated_hops": curve},
            "missing_rivals": {"hand_placed": "no cut site"},
        },
    }


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_each_seed_runs_once_and_the_page_compares_the_rivals(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []

    def fake(recipe: Any, folder: Any) -> dict[str, Any]:
        seeds.append(recipe.seed)
        return outcome(power_mw=1.0 + recipe.seed)

    monkeypatch.setattr(streams.measure, "measure", fake)
    arguments = [*(f"{name}={path}" for name, path in PATHS.items()), "seeds=0,1"]
    for _ in range(2):
        results.run("streams", arguments)
    assert seeds == [0, 1]
    page = (place / "results/streams/README.md").read_text()
    assert "words=SPEECH_COMMANDS" in page and "/some" not in page
    assert "Missing rival hand_placed: no cut site" in page
    rows = {row["name"]: row for row in json.loads((place / "results/streams/rows.json").read_text())}
    gain = rows["mean power, level gate before the ungated network over picked"]
    assert gain["values"] == [2.0, 1.0] and gain["target"] == ">= 1.5" and gain["provenance"] == "modelled"
    ungated = rows["ungated, misses at 2 false accepts an hour on the test scene's own curve"]
    assert ungated["values"] == [0.1, 0.1]
    assert rows["picked minus ungated, misses"]["value"] == pytest.approx(0.005)
    assert (place / "results/streams/det.png").stat().st_size > 0


def test_a_run_on_a_real_part_has_a_section_and_rows_of_its_own(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = []

    def fake(recipe: Any, folder: Any) -> dict[str, Any]:
        devices.append(recipe.device)
        result = outcome(power_mw=0.9)
        steady = {"name": "idle and sensor", "open_share": 1.0, "openings_per_hour": 0.0, "power_mw": 0.8}
        result["stream"]["picked"]["parts"].insert(0, steady)
        return result | {"stream": result["stream"] | {"picked": result["stream"]["picked"] | PERFECT}}

    monkeypatch.setattr(streams.measure, "measure", fake)
    paths = [f"{name}={path}" for name, path in PATHS.items()]
    results.run("streams", [*paths, "device=stm32u385", "search.trials=6"])
    alone = json.loads((place / "results/streams/rows.json").read_text())
    assert all(row["name"].startswith("stm32u385, ") for row in alone)
    results.run("streams", paths)
    assert devices == ["stm32u385", "three_core"]
    rows = {row["name"]: row for row in json.loads((place / "results/streams/rows.json").read_text())}
    power = rows["stm32u385, gated: mean power"]
    assert power["value"] == 0.9 and power["target"] == "<= 1.0"
    assert "device=stm32u385 search.trials=6" in power["command"]
    assert "device=" not in rows["best plan, gated: mean power"]["command"]
    page = (place / "results/streams/README.md").read_text()
    assert "## stm32u385-0: a real part" in page and page.count("| stm32u385, ") == 0


def test_recordings_take_the_place_of_synthetic_sources() -> None:
    recipe = load_recipe(PATHS, 2, ["search.trials=3"])
    assert [source["kind"] for source in recipe.data.arguments["sources"]] == [
        "folders",
        "recordings",
        "archive",
        "synthetic_noise",
    ]
    assert (recipe.seed, recipe.data.arguments["seed"], recipe.search.trials) == (2, 2, 3)
    synthetic = load_recipe({}, 0, [])
    assert [source["kind"] for source in synthetic.data.arguments["sources"]] == ["synthetic_speech", "synthetic_noise"]


def test_one_path_without_the_others_is_refused() -> None:
    with pytest.raises(UserError, match="bench streams: talk: wanted: talk=SPEECH_NEGATIVES beside words"):
        load_recipe({"words": "/some/where"}, 0, [])


def test_an_unknown_argument_is_refused(place: Path) -> None:
    with pytest.raises(UserError, match="unknown key 'wrods'; nearest: 'words'"):
        results.run("streams", ["wrods=/some/where"])
