"""Tests of prices: a front end that is not counted is named, and a device that is too small is refused."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from gatesearch.devices import profile
from gatesearch.errors import UserError
from gatesearch.frontends import Frontend, LogMel
from gatesearch.frontends.identity import Identity
from gatesearch.pipeline import pricing
from gatesearch.pipeline.pricing import check_prices, frontend_work


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


def test_a_device_that_is_too_small_is_refused_with_the_smallest_excess(monkeypatch: pytest.MonkeyPatch) -> None:
    excesses = [
        {"mcu.sram": 0.5, "latency_ms": -1.0},
        {"mcu.sram": 0.2, "mcu.utilisation": 3.0},
        {"app.operators": 1.0},
    ]
    monkeypatch.setattr(pricing, "price_violations", lambda recipe, cost, plan: plan)

    class Space:
        """Three plans, each of which stands for its own excesses."""

        def __len__(self) -> int:
            return len(excesses)

        def plans(self) -> Iterator[dict[str, float]]:
            return iter(excesses)

    small: Any = SimpleNamespace(recipe=None, space=Space())
    with pytest.raises(UserError) as error:
        check_prices(small, None)  # type: ignore[arg-type]
    assert (
        "(app.operators, mcu.sram exceeded by at least 20%, mcu.utilisation exceeded by at least 300%); relax"
        in str(error.value)
    )
