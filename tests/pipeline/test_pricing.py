"""Tests that a price says so if the front end is not counted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gatesearch.devices import profile
from gatesearch.frontends import Frontend, LogMel
from gatesearch.frontends.identity import Identity
from gatesearch.pipeline.pricing import frontend_work


class Slow(Frontend):
    """A front end of a user, without a kernel."""

    def macs(self) -> int:
        """Return the multiply-accumulates of a window."""
        return 123456


def problem(frontend: Frontend, device: str) -> Any:
    recipe = SimpleNamespace(frontend=SimpleNamespace(name="mine:Slow"))
    return SimpleNamespace(frontend=frontend, device=profile.load(device), recipe=recipe)


def test_a_front_end_without_a_kernel_gives_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    assert frontend_work(problem(Slow(), "three_core")).reading is None
    printed = " ".join("".join(capsys.readouterr()).split())
    assert "frontend.name: mine:Slow has no kernel in the table of core mcu; its 123,456 MACs are priced at" in printed


@pytest.mark.parametrize(
    ("frontend", "device"), [(LogMel(), "three_core"), (Identity(), "three_core"), (Slow(), "host")]
)
def test_a_counted_front_end_or_a_core_without_a_table_gives_none(
    frontend: Frontend, device: str, capsys: pytest.CaptureFixture[str]
) -> None:
    frontend_work(problem(frontend, device))
    assert "no kernel" not in "".join(capsys.readouterr())
