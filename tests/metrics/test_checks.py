"""Tests that metrics refuse values that are not finite, and indices that are out of range."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.errors import DataError
from gatesearch.metrics import fidelity, quality, waveform_errors

COUNT, SAMPLES = 6, 1024


# Valid arguments of quality(), with some of them replaced.
def routed(**changes: Any) -> dict[str, Any]:
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    return {
        "exits": torch.tensor([1, 1, 0, 1, 0, 1]),
        "predictions": labels.clone(),
        "labels": labels,
        "positive": torch.tensor([True, True, False]),
        "kinds": torch.tensor([0, 0, 1, 0, 0, 1]),
        "kind_names": ["positive", "hum"],
        "gates": 1,
    } | changes


# Valid arguments of fidelity(), with some of them replaced.
def coded(**changes: Any) -> dict[str, Any]:
    originals = torch.randn(COUNT, SAMPLES, generator=torch.Generator().manual_seed(0))
    return {
        "outputs": 0.9 * originals,
        "originals": originals,
        "exits": torch.tensor([1, 1, 0, 1, 0, 1]),
        "path_errors": torch.full((COUNT, 2), 0.5),
        "labels": torch.zeros(COUNT, dtype=torch.int64),
        "kinds": torch.zeros(COUNT, dtype=torch.int64),
        "kind_names": ["positive"],
    } | changes


@given(st.sampled_from(["exits", "predictions", "labels", "kinds"]), st.integers(0, COUNT - 1), st.integers(-5, 5))
def test_an_index_out_of_range_is_refused(name: str, sample: int, value: int) -> None:
    arguments = routed()
    arguments[name][sample] = value
    count = {"exits": 2, "kinds": 2}.get(name, 3)
    if 0 <= value < count:
        quality(**arguments)
    else:
        with pytest.raises(
            DataError, match=f"quality: {name} hold {value} for sample {sample}; wanted: 0 to {count - 1}"
        ):
            quality(**arguments)


@pytest.mark.parametrize("name", ["exits", "predictions", "labels", "kinds"])
def test_scores_in_place_of_indices_are_refused(name: str) -> None:
    with pytest.raises(DataError, match=f"quality: {name} are torch.float32"):
        quality(**routed(**{name: torch.full((COUNT,), float("nan"))}))
    with pytest.raises(DataError, match=f"5 {name}"):
        quality(**routed(**{name: torch.zeros(5, dtype=torch.int64)}))


def test_figures_of_no_samples_are_refused() -> None:
    empty = torch.zeros(0, dtype=torch.int64)
    with pytest.raises(DataError, match="0 labels"):
        quality(**routed(exits=empty, predictions=empty, labels=empty, kinds=empty))


@pytest.mark.parametrize("name", ["outputs", "originals", "path_errors"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_named(name: str, value: float) -> None:
    arguments = coded()
    arguments[name][3, 1] = value
    with pytest.raises(DataError, match=f"fidelity: {name} are not finite for 1 of 6 samples, first sample 3"):
        fidelity(**arguments)


def test_waveforms_of_other_shapes_are_not_broadcast() -> None:
    with pytest.raises(ValueError, match=r"outputs are \[1, 1024\], originals \[6, 1024\]"):
        waveform_errors(torch.zeros(1, SAMPLES), torch.zeros(COUNT, SAMPLES))
    assert fidelity(**coded()).fidelity > 0.5
