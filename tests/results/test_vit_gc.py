"""Tests of vit_gc, the benchmark of a keyword transformer: rows by prevalence, the page and the plot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import results
from gatesearch.errors import UserError
from results import vit_gc
from results.vit_gc import plot
from results.vit_gc.measure import Outcome
from results.vit_gc.page import KeywordTransformer

SWEEP = [
    {
        "prevalence": pi,
        "reach": 0.1 + pi,
        "expected_energy_uj": 400.0 + pi,
        "gain_end_to_end": 1.3 - pi,
        "bound": 1.6,
        "gain_idealised": None if pi == 0.0001 else 2.0 / (0.1 + pi),
    }
    for pi in (0.1, 0.01, 0.001, 0.0001)
]


def outcome(accuracy: float = 0.88, synthetic: bool = False) -> Outcome:
    plan = {"gates": [{"kind": "gc", "site": "blocks.0", "params": {"keep": 0.5}}], "cores": ["mcu", "app"]}
    best: dict[str, Any] = {
        "plan": plan,
        "accuracy": accuracy,
        "accuracy_all_classes": accuracy - 0.01,
        "gate_recall": 0.98,
        "early_stop_by_kind": {"_unknown_": 0.3, "_silence_": 1.0},
        "first_gate_stop_by_kind": {"_unknown_": 0.3, "_silence_": 1.0},
        "early_stop_rate_stream": 0.92,
        "early_stop_rate_stream_at_least": 0.88,
        "activation_sparsity": 0.5,
        "gain_paper_style": 25.0,
        "gain_paper_style_at_least": 16.7,
        "expected_macs": 4e5,
        "prevalence": SWEEP,
    }
    summary = {
        "seconds": 300.0,
        "data": {"synthetic": synthetic, "train": 10, "validation": 2, "test": 3},
        "baseline": {"accuracy": 0.87, "macs": 2_000_000},
        "best": best,
        "search": {"evaluated": 24},
        "streaming": {"ungated_us": 100.0, "gated_us": 40.0},
        "export": {"parity": {"gate_agreement": 1.0, "prediction_agreement": 0.998}},
    }
    record = {
        "reference": {"accuracy_all_classes": 0.86},
        "gates": [{"activation_sparsity": {"ungated_element": 0.0}}],
        "data": {"stream": {"positive": 0.1, "_unknown_": 0.1, "_silence_": 0.8}},
    }
    return Outcome(summary, record, ("int8", "float32"), {"agreement": 0.985, "accuracy": 0.8})


def benchmark(outcomes: dict[int, Outcome]) -> KeywordTransformer:
    return KeywordTransformer("command", outcomes, ())


def test_rows_hold_every_seed_and_every_prevalence() -> None:
    rows = {row.name: row for row in benchmark({0: outcome(0.88), 1: outcome(0.86)}).rows()}
    change = rows["accuracy, picked minus ungated"]
    assert change.values == pytest.approx((0.01, -0.01)) and change.seeds == (0, 1)
    assert rows["_silence_ stopped"].value == 1.0 and rows["_unknown_ stopped"].value == 0.3
    for pi in ("0.1", "0.01", "0.001", "0.0001"):
        assert rows[f"energy gain end to end at prevalence {pi}"].value == pytest.approx(1.3 - float(pi))
        assert rows[f"energy gain end to end at prevalence {pi}"].provenance == "modelled"
        assert rows[f"bound of any gate's gain at prevalence {pi}"].value == 1.6
    assert rows["answer agreement, ungated in int8"].value == 0.985


def test_an_infinite_gain_is_not_in_the_row_but_on_the_page() -> None:
    result = {row.name for row in benchmark({0: outcome()}).rows()}
    assert "idealised gain at prevalence 0.001" in result and "idealised gain at prevalence 0.0001" not in result
    assert "infinite" in benchmark({0: outcome()}).text()


def test_figures_of_synthetic_data_are_marked() -> None:
    assert all("synthetic speech" in row.protocol for row in benchmark({0: outcome(synthetic=True)}).rows())
    assert "says nothing about real speech" in benchmark({0: outcome(synthetic=True)}).text()
    assert "says nothing about real speech" not in benchmark({0: outcome()}).text()


def test_the_page_shows_command_published_figures_plan_and_arithmetic() -> None:
    command = "gatesearch bench vit_gc data.root=SPEECH_COMMANDS"
    text = KeywordTransformer(command, {0: outcome(), 2: outcome(0.9)}, ("a=1",)).text()
    for part in ("data.root=SPEECH_COMMANDS", "158x to 30,000x", "mcu int8 > app float32", "`a=1`", "2 seeds"):
        assert part in text
    assert "_unknown_ 11%, _silence_ 89%" in text
    assert "| 0.0001 | 2 |" in text


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    plot.draw({0: outcome(), 1: outcome(0.9)}, tmp_path / "vit_gc.png")
    assert (tmp_path / "vit_gc.png").read_bytes()[:4] == b"\x89PNG"


def test_finished_seeds_are_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Path, int, int]] = []

    def done(path: Path, recipe: Any) -> Outcome:
        calls.append((path, recipe.seed, recipe.training.epochs))
        return outcome(synthetic="synthetic" in path.name)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(vit_gc.measure, "measure", done)
    vit_gc.main(["seeds=0,3"])
    assert [(path.name, seed) for path, seed, _ in calls] == [("synthetic-0", 0), ("synthetic-3", 3)]
    assert json.loads((tmp_path / "results" / "vit_gc" / "rows.json").read_text())[0]["seeds"] == [0, 3]
    calls.clear()
    vit_gc.main([f"data.root={tmp_path}", "training.epochs=2"])
    assert [(path.name, epochs) for path, _, epochs in calls] == [("real-0", 2)]  # the user's settings come last
    assert str(tmp_path) not in (tmp_path / "results" / "vit_gc" / "README.md").read_text()


def test_wrong_arguments_give_an_error_of_one_line() -> None:
    with pytest.raises(UserError, match=r"unknown benchmark 'vit'; nearest: 'vit_gc'"):
        results.run("vit", [])
    with pytest.raises(UserError, match=r"bench vit_gc: seeds=a: seeds are whole numbers"):
        vit_gc.main(["seeds=a"])
