"""Prices of random gated models equal the recorded ones; golden_prices.py describes the models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.golden import golden_prices
from tests.places import working_in

NETWORKS, MODELS = golden_prices.models()["networks"], golden_prices.models()["models"]
ON_DEVICES = [(network, device) for network in NETWORKS for device in golden_prices.devices_of(network)]
RECORDED = json.loads(golden_prices.PRICES.read_text())["prices"]
SAME = 1e-9  # relative and absolute tolerance; only the order of sums may differ


@pytest.fixture(autouse=True, scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("golden")
    with working_in(folder):
        yield folder


def assert_same(figure: Any, recorded: Any, where: str) -> None:
    if isinstance(recorded, dict):
        assert figure.keys() == recorded.keys(), where
        for key in recorded:
            assert_same(figure[key], recorded[key], f"{where}.{key}")
    elif isinstance(recorded, list):
        assert len(figure) == len(recorded), where
        for index, one in enumerate(recorded):
            assert_same(figure[index], one, f"{where}.{index}")
    elif isinstance(recorded, float):
        assert figure == pytest.approx(recorded, rel=SAME, abs=SAME, nan_ok=True), where
    else:
        assert figure == recorded, where


def test_every_model_has_its_recorded_prices() -> None:
    names = {golden_prices.name_of(model) for model in MODELS}
    assert len(names) == len(MODELS) == 56
    assert names == RECORDED.keys()
    for model in MODELS:
        assert RECORDED[golden_prices.name_of(model)].keys() == set(golden_prices.devices_of(model["network"]))


@pytest.mark.parametrize(("network", "device"), ON_DEVICES)
def test_prices_equal_the_recorded_ones(network: str, device: str) -> None:
    for model in MODELS:
        if model["network"] == network:
            name = golden_prices.name_of(model)
            assert_same(golden_prices.figures(model, device), RECORDED[name][device], f"{name}, {device}")
