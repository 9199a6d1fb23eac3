"""Tests of `gatesearch devices`: tables that fit a terminal, the comparison of two devices, errors of one line."""

from __future__ import annotations

import json
from datetime import date

import pytest

from gatesearch._lib import console
from gatesearch.cli import app
from gatesearch.devices import profile

WIDTH_CHARACTERS = 100


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert app.main(["devices", *words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", profile.names())
def test_each_constant_of_a_device_fits_a_terminal(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, name)
    constants = [line for line in text.splitlines() if line.startswith("  ")]
    assert all(len(line) <= WIDTH_CHARACTERS for line in constants)
    for path, _ in profile.list_constants(profile.load(name)):
        assert path.split(".")[-1] in text, path


def test_a_constant_is_shown_with_range_provenance_age_and_condition(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "stm32u385")
    lines = text.splitlines()
    [index] = [k for k, line in enumerate(lines) if line.split()[:1] == ["active_mw"]]
    assert "5.39 mW (5.088 to 6.27)" in lines[index] and "derived" in lines[index] and " ago" in lines[index]
    assert "energy runs: (5.896 ad" in lines[index + 1]
    assert "stm32u385: core m33 at 96MHz or 48MHz" in text
    assert "clocks.48MHz.active_mw" in text and "sensor_mw" in text
    assert "1.8 V" in text  # a condition


def test_the_comparison_shows_the_constants_that_differ(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "compare", "stm32u385", "stm32u3c5")
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert (
        "0.45 mW" in lines["m33.floor_mw"] and "0.4 mW" in lines["m33.floor_mw"] and "0.889x" in lines["m33.floor_mw"]
    )
    assert "hsp.active_mw" in lines and "m33-hsp.nj_per_byte" in lines
    assert "sense.sensor_mw" not in lines
    assert "other constants have equal values" in text


def test_the_comparison_in_json_has_both_constants(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(run(capsys, "compare", "stm32u385", "stm32l4r5", "--json"))
    [row] = [row for row in rows if row["constant"] == "m33/m4.active_mw"]
    assert row["stm32u385"]["value"] == 5.39 and row["stm32l4r5"]["source"]


def test_a_device_compared_with_itself_has_no_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(run(capsys, "compare", "host", "host", "--json")) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("compare", "host"), "devices compare: 1 name, not two; write: devices compare A B"),
        (("compare", "host", "host", "host"), "devices compare: 3 names"),
        (("compare", "host", "hots"), "unknown device 'hots'; nearest: 'host'"),
        (("host", "cortex_a"), "to compare two: devices compare A B"),
        (("stm32u386",), "unknown device 'stm32u386'; nearest: 'stm32u385'"),
    ],
)
def test_a_wrong_command_gives_one_line(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["devices", *words]) != 0
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error


@pytest.mark.parametrize("width_characters", [80, 100, 132])
@pytest.mark.parametrize("name", profile.names())
def test_a_device_fits_a_terminal_of_any_usual_width(
    name: str, width_characters: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_PLAIN_WIDTH_CHARACTERS", width_characters)
    text = run(capsys, name)
    assert all(len(line) <= width_characters for line in text.splitlines())
    ages = [one for _, one in profile.list_constants(profile.load(name)) if one.age_years(date.today()) is not None]
    assert text.count(" ago") >= len(ages)
    for provenance in {one.provenance for _, one in profile.list_constants(profile.load(name))}:
        assert provenance in text


def test_the_comparison_breaks_no_word_on_a_terminal_of_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_PLAIN_WIDTH_CHARACTERS", 80)
    text = run(capsys, "compare", "stm32u385", "stm32u575")
    assert all(len(line) <= 80 for line in text.splitlines())
    assert text.count("instr./cycle") == 2


def test_the_list_says_how_many_constants_are_assumed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = {line.split()[0]: line for line in run(capsys).splitlines() if line.strip()}
    assert " 0 of " in lines["stm32u385"] and " 0 of " not in lines["three_core"]
    assert "devices compare A B" in lines["gatesearch"] and len(lines["gatesearch"]) <= 80
