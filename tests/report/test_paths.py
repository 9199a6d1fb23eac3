"""Tests of the report of a run without labels, which compares the light path with the heavy path."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from gatesearch.report import figures
from gatesearch.report.figures.paths import draw_classes, draw_qualities
from gatesearch.report.page import render
from gatesearch.report.sections import headline, paths


@pytest.fixture
def codec(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a codec with one gate, made from the record of a keyword run."""
    labelled = ("accuracy", "accuracy_all_classes", "precision", "recall", "gate_recall", "early_stop_rate")
    exit = {"reach": 0.7, "macs": 98_000.0, "params": 2100, "latency_us": 31.0, "energy_uj": {"compute": 0.2}}
    stage = {"last_site": "quantiser", "exit": exit, "reach": {"stream": 1.0, "positive": 1.0}}
    later = {"first_site": "quantiser", "exit": None, "reach": {"stream": 0.3, "positive": 0.3}}
    gate = {"kind": "dsl", "site": "quantiser", "params": {"share": 0.7, "width": 0.25, "keep": 1.0}}
    return record | {
        "goal": {"name": "reconstruction", "quality": "fidelity"},
        "layers": [],
        "sites": [{"name": name, "shape": [32, 64, 1]} for name in ("input", "quantiser", "decoder.0")],
        "plan": record["plan"] | {"gates": [gate], "cores": ["mcu", "mcu"]},
        "stages": [record["stages"][0] | stage, record["stages"][1] | later],
        "gates": [{"index": 0, "site": "quantiser", "kind": "dsl", "theta": 0.25, "roc": {}, "early_stop": {}}],
        "paths": [
            {"name": "routed by the switch", "light_share": 0.7, "quality": 0.512},
            {"name": "all heavy", "light_share": 0.0, "quality": 0.531},
            {"name": "all light", "light_share": 1.0, "quality": 0.43},
            {"name": "routed at random", "light_share": 0.7, "quality": 0.4603},
            {"name": "trained without gates", "light_share": None, "quality": 0.535},
        ],
        "reference": record["reference"] | dict.fromkeys(labelled) | {"quality": 0.535, "snr_db": 4.4},
        "best": record["best"]
        | dict.fromkeys(labelled)
        | {
            "quality": 0.512,
            "snr_db": 4.0,
            "light_share": 0.7,
            "light_share_by_class": {"speech": 0.55, "noise": 0.95},
            "quality_random": 0.4603,
            "light_macs": 98_000,
            "heavy_macs": 5_300_000,
            "shared_macs": 6_500_000,
            "heavy_over_light_macs": 54.1,
            "light_params": 2_100,
            "heavy_params": 39_000,
            "heavy_over_light_params": 18.6,
            "resident_params": 102_000,
            "light_latency_us": 31.0,
            "heavy_latency_us": 410.0,
        },
        "parity": record["parity"]
        | {"prediction_agreement": None, "output_snr_db": 17.5, "bars": {"gate": 0.9, "output_snr_db": 10.0}},
    }


def words(record: dict[str, Any]) -> str:
    return " ".join(html.unescape(re.sub("<[^>]+>", " ", render(record))).replace("\u00a0", " ").split())


def test_the_page_compares_both_paths_and_other_routings(codec: dict[str, Any]):
    text = words(codec)
    for phrase in (
        "routed by the switch 70.0 % 51.2 %",
        "routed at random 70.0 % 46.0 %",
        "trained without gates no light path 53.5 %",
        "MACs a window 98 k 5.3 M 6.5 M",
        "parameters 2.1 k 39 k 60.9 k",
        "54.1\u00d7 in MACs and 18.6\u00d7",
        "All 102 k parameters stay in memory",
        "70.0 % of windows take the light path: 98 k MACs, 31 µs",
        "17.5 dB 10 dB ✓ meets it",
        "Validation fidelity",
        "signal to noise 4.0 dB 4.4 dB",
    ):
        assert phrase in text, phrase
    assert "12.3\u00d7" in text and "20.9\u00d7" in text


def test_without_labels_the_page_does_not_mention_positives(codec: dict[str, Any]):
    text = words(codec)
    for phrase in ("not yet", "gate recall", "early stop", "same predictions", "Negatives", "none stops a window"):
        assert phrase not in text, phrase
    assert "accuracy" not in text.replace("record.accuracy", "")


def test_a_run_with_labels_has_no_light_path(record: dict[str, Any]):
    assert "light path" not in words(record) and paths.build_tiles(record) == [] and not draw_qualities(record)
    assert headline.build_tiles(record)[0]["label"] == "accuracy"


def test_figures_of_the_paths_are_drawn(codec: dict[str, Any]):
    drawn = figures.draw_all(codec)
    assert drawn["paths"] and "routed by the switch, 70 % light" in drawn["paths"]
    assert drawn["light-by-class"] and "speech" in drawn["light-by-class"]
    codec["best"]["light_share_by_class"] = {"sound": 0.7}
    assert draw_classes(codec) is None
