"""Tests that commands and benchmarks print their usage on request, and run nothing."""

from __future__ import annotations

import sys

import pytest

import results
from gatesearch.cli import app

COMMANDS = [c.name or str(c.callback.__name__) for c in app.app.registered_commands if c.callback]


@pytest.mark.parametrize("flag", results.HELP_FLAGS)
@pytest.mark.parametrize("name", results.NAMES)
def test_a_benchmark_lists_its_arguments(name: str, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = set(sys.modules)
    assert app.main(["bench", name, "seeds=1", flag]) == 0
    output = capsys.readouterr().out
    assert output.startswith(f"Usage: gatesearch bench {name} [key=value]...\n")
    _, _, arguments = output.partition("\nArguments:\n")
    assert "=" in arguments and "`" not in arguments
    assert not {module for module in set(sys.modules) - before if module.startswith(f"results.{name}")}


@pytest.mark.parametrize("flag", results.HELP_FLAGS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_lists_its_arguments(command: str, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main([command, flag]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: gatesearch {command} ")
