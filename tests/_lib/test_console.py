"""Tests of console output: progress lines, tables, and numbers with SI prefixes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch._lib import console
from gatesearch._lib.format import format_si


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "90")


class Clock:
    """A clock that stands still until a test moves it on."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_plain_progress_prints_at_the_start_rarely_between_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with console.progress(100, "search", clock=clock) as steps:
        for step in range(100):
            clock.now += 0.3
            steps.advance(note=f"best [{step}]")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "search: 0/100",
        "search: 34/100, 10 s elapsed, 20 s left, best [33]",
        "search: 68/100, 20 s elapsed, 10 s left, best [67]",
        "search: 100/100, done in 30 s, best [99]",
    ]


def test_the_remaining_time_follows_from_the_pace_of_this_session(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with console.progress(40, "search", clock=clock, done=30) as steps:
        for _ in range(10):
            clock.now += 6
            steps.advance()
    assert capsys.readouterr().err.splitlines()[:3] == [
        "search: 30/40",
        "search: 32/40, 12 s elapsed, 48 s left",
        "search: 34/40, 24 s elapsed, 36 s left",
    ]


def test_plain_progress_of_unknown_length_shows_the_elapsed_time_when_it_is_stopped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    with pytest.raises(KeyboardInterrupt), console.progress(None, "data", clock=clock) as steps:
        clock.now = 75
        steps.advance(3)
        raise KeyboardInterrupt
    assert capsys.readouterr().err.splitlines() == [
        "data: 0",
        "data: 3, 1:15 elapsed",
        "data: 3, stopped after 1:15",
    ]


def test_progress_on_a_terminal_may_nest(terminal: None, capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress(2, "search") as outer, console.progress(1, "training") as inner:
        inner.advance(note="[loss] 0.1")
        console.say("between [bold]us[/bold]")
        outer.advance(2)
    out, err = capsys.readouterr()
    assert "between [bold]us[/bold]" in out + err
    assert "search" in err and "2/2" in err and "[loss] 0.1" in err


def test_a_plain_table_aligns_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("blocks.0 [1, 64]", 1234567, 0.123456, None, True), ("x", 1, 2.0, None, False)]
    console.table("sites [all]", ("site", "MACs", "share", "core", "ok"), rows)
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "sites [all]",
        "site                 MACs   share  core  ok",
        "blocks.0 [1, 64]  1234567  0.1235  -     True",
        "x                       1       2  -     False",
    ]


def test_wide_tables_wrap_their_cells_and_lose_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    name, word, text = "cores.mcu.timing.instructions_per_mac", "w" * 150, "many words " * 30
    console.table("t", ("name", "a", "b"), [(name, word, text)])
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    assert name in out and out.count("w") == 150 + 30 and out.count("many") == 30


def test_a_table_without_rows_is_drawn_on_a_terminal(terminal: None, capsys: pytest.CaptureFixture[str]) -> None:
    console.table("empty", ("a", "b"), [])
    assert "─" in capsys.readouterr().out


def test_say_does_not_wrap_lines(capsys: pytest.CaptureFixture[str]) -> None:
    line = "[red] " + "long " * 60 + ":smile:"
    console.say(line)
    console.say()
    assert capsys.readouterr().out == f"{line}\n\n"


@given(st.floats(1e-13, 1e15), st.sampled_from([1, -1]))
def test_si_is_right_to_three_digits(value: float, sign: int) -> None:
    number, unit = format_si(sign * value, "J").split(" ")
    scale = {"p": -12, "n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12}[unit[:-1]]
    assert float(number) * 10.0**scale == pytest.approx(sign * value, rel=0.0051)
    assert 0.1 <= abs(float(number)) < 1001


def test_si_of_values_that_are_not_finite() -> None:
    assert (format_si(float("nan"), "J"), format_si(float("inf"), "s")) == ("nan J", "inf s")
