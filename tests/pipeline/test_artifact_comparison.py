"""Tests of the line that says in what an exported bundle is worse than the ungated program."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gatesearch.devices.profile import load
from gatesearch.pipeline.artifact_comparison import compare_artifacts
from gatesearch.report.page import render
from gatesearch.runtime.stream_timing import StreamTiming

GATE = {"kind": "fbs", "site": "conv2", "params": {}}
times = st.floats(min_value=1.0, max_value=1e6)
sizes = st.integers(min_value=1, max_value=10**9)


def timing(gated_us: float, ungated_us: float) -> StreamTiming:
    return StreamTiming(
        gated_us=gated_us,
        ungated_us=ungated_us,
        windows=1,
        invoke_us=ungated_us,
        always_us=gated_us,
        later_us=(),
        reach=(),
        kernels=False,
    )


def manifest(size: int, gates: list[dict[str, Any]]) -> dict[str, Any]:
    stages = [{"core": "a", "program": {"bytes": size}, "artifacts": [], "gate": None}]
    return {"plan": {"gates": gates}, "stages": stages, "ungated": {"arithmetic": "int8"}}


@given(times, times, times, times, sizes, sizes)
def test_the_line_names_each_quantity_in_which_the_bundle_is_worse(
    gated_us: float, ungated_us: float, gated_price: float, ungated_price: float, gated_size: int, ungated_size: int
) -> None:
    comparison = compare_artifacts(
        manifest(gated_size, [GATE]),
        timing(gated_us, ungated_us),
        ungated_size,
        load("host"),
        (gated_price, ungated_price),
    )
    assert comparison is not None
    line = comparison.verdict() or ""
    assert ("on this host" in line) == (gated_us > ungated_us)
    assert ("expected on host" in line) == (gated_price > ungated_price)
    assert ("larger" in line) == ("bytes" in line) == (gated_size > ungated_size)
    assert ("slower" in line) == (gated_us > ungated_us or gated_price > ungated_price)
    assert "\n" not in line


def test_a_price_on_an_imagined_device_is_not_held_against_the_files() -> None:
    comparison = compare_artifacts(manifest(1, [GATE]), timing(1.0, 2.0), 1, load("bit_serial"), (9.0, 1.0))
    assert comparison is not None and comparison.verdict() is None


def test_a_plan_without_gates_is_not_compared_because_it_is_the_ungated_program() -> None:
    assert compare_artifacts(manifest(2, []), timing(2.0, 1.0), 1, load("host"), (1.0, 1.0)) is None


def test_the_report_begins_with_the_line() -> None:
    page = render({"title": "digits", "verdict": "the exported bundle is slower than the ungated int8 program: 9 us"})
    assert page.index("The exported bundle is slower") < page.index("<h1>")
    assert "slower than the ungated" not in render({"title": "digits"})
