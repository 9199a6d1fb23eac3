"""Tests of kws, the benchmark of a keyword spotter: its rows, its page and its arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import results
from gatesearch._lib.revision import revision
from gatesearch.errors import UserError
from gatesearch.metrics import Quality
from gatesearch.report.rows import write_results
from results import kws
from results.benchmark import public_argument
from results.kws.measure import KINDS, RECALLS, Outcome
from results.kws.page import KeywordSpotting
from results.whole_runs import SPEECH


def outcome(accuracy: float = 0.88, synthetic: bool = False) -> Outcome:
    def quality(accuracy: float, passed: dict[str, tuple[float, ...]]) -> Quality:
        recall = passed["positive"][-1]
        return Quality(accuracy, accuracy - 0.01, 0.9, 0.87, recall, 0.6, passed["positive"][1:], passed)

    gated = {"positive": (1.0, 0.98), "_silence_": (1.0, 0.01), "_unknown_": (1.0, 0.8)}
    ungated = {"positive": (1.0,), "_silence_": (1.0,), "_unknown_": (1.0,)}
    summary: dict[str, Any] = {
        "data": {"synthetic": synthetic, "train": 10, "validation": 2, "test": 3},
        "best": {
            "plan": {"gates": [], "cores": ["mcu"]},
            "early_stop_rate_stream": 0.9,
            "activation_sparsity": 0.5,
            "gain_end_to_end": 1.2,
        },
        "export": {"parity": {"gate_agreement": 1.0, "prediction_agreement": 0.995}},
        "streaming": {"ratio": 2.0, "gated_us": 10.0, "ungated_us": 20.0, "windows": 300},
        "search": {"evaluated": 40},
        "seconds": 300.0,
    }
    trade = {kind: dict.fromkeys(RECALLS, 0.5) for kind in KINDS}
    return Outcome(
        summary,
        quality(0.87, ungated),
        quality(accuracy, gated),
        quality(0.86, gated),
        2e6,
        5e5,
        2_656_768,
        trade,
        trade,
    )


def test_rows_hold_every_seed_and_its_target() -> None:
    benchmark = KeywordSpotting("gatesearch bench kws", {0: outcome(0.88), 1: outcome(0.86)}, outcome(synthetic=True))
    rows = {row.name: row for row in benchmark.rows()}
    change = rows["accuracy, picked minus ungated"]
    assert change.values == pytest.approx((0.01, -0.01)) and change.seeds == (0, 1) and change.target == ">= -0.005"
    assert rows["silence stopped at the first gate"].value == pytest.approx(0.99)
    assert rows["energy gain end to end"].provenance == "modelled"
    assert "synthetic" not in change.protocol


def test_figures_of_synthetic_data_are_marked() -> None:
    rows = KeywordSpotting("command", {}, outcome(synthetic=True)).rows()
    assert all("synthetic speech" in row.protocol for row in rows)


@pytest.mark.parametrize("real", [{}, {0: outcome(), 2: outcome(0.9)}])
def test_the_page_names_what_was_not_run_and_how_to_run_it(real: dict[int, Outcome]) -> None:
    command = "gatesearch bench kws data.root=SPEECH_COMMANDS"
    page = KeywordSpotting(command, real, outcome(synthetic=True)).text()
    assert ("not run" in page) == (not real)
    assert "gatesearch bench kws data.root=SPEECH_COMMANDS" in page and "published" in page


def test_results_are_written_for_people_and_programs(tmp_path: Path) -> None:
    rows = KeywordSpotting("command", {0: outcome()}, outcome(synthetic=True)).rows()
    path = write_results(tmp_path / "kws", rows, "# page")
    assert path.read_text() == f"# page\n\nWritten by {revision()}.\n"
    [first, *_] = json.loads((tmp_path / "kws" / "rows.json").read_text())
    assert first["command"] == "command" and first["commit"] in revision()


def test_wrong_arguments_give_an_error_of_one_line() -> None:
    with pytest.raises(UserError, match=r"unknown benchmark 'kw'; nearest: 'kws'"):
        results.run("kw", [])
    with pytest.raises(UserError, match="seeds=a: seeds are whole numbers"):
        kws.main(["seeds=a"])


def test_the_users_paths_are_not_published() -> None:
    assert public_argument("data.root=/home/me/speech", SPEECH) == "data.root=SPEECH_COMMANDS"
