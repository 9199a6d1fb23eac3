"""Tests that a warning is one line, is collected, and waits while a tool's output is captured."""

from __future__ import annotations

import os

import pytest

from gatesearch._lib import console
from gatesearch._lib.tool_output import quiet


def test_a_warning_is_printed_and_collected_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    texts: list[str] = []
    with console.pass_warnings(texts.append):
        console.warn("two\n  lines")
    console.warn("nobody collects")
    assert texts == ["two lines"]
    assert capsys.readouterr().err == "warning: two lines\nwarning: nobody collects\n"


def test_a_diverted_warning_is_neither_printed_nor_stored_until_it_comes_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    texts: list[str] = []
    with console.pass_warnings(texts.append):
        with console.divert_warnings() as lines:
            console.warn("a worker\n is cold")
            console.warn("a worker is cold")
        assert lines == ["a worker is cold"] and not texts
        assert not capsys.readouterr().err
        console.warn(lines[0])
    assert texts == lines


def test_a_warning_while_a_tool_is_quiet_is_printed_after_it(capfd: pytest.CaptureFixture[str]) -> None:
    texts: list[str] = []
    with console.pass_warnings(texts.append), quiet("a tool"):
        os.write(1, b"the tool's own words")
        console.warn("something else is done")
        assert texts == ["something else is done"]
    assert capfd.readouterr().err == "warning: something else is done\n"
