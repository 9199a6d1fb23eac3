"""Tests of loading data sets by name: entry points, import paths, and errors for unknown names."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest
import torch

from gatesearch._lib import plugins as plugins_module
from gatesearch.data import Dataset, Split, dataset_names, load_dataset, registry
from gatesearch.errors import UserError


def toy(size: int, colour: str = "red") -> Dataset:
    split = Split(torch.zeros(size, 4), torch.zeros(size, dtype=torch.int64), ("x",) * size)
    return Dataset("toy", colour, True, ("yes",), (True,), split, split, split)


def broken(size: int) -> Dataset:
    raise TypeError("from inside")


def wrong(size: int) -> Any:
    return size


def test_speech_is_an_installed_data_set() -> None:
    assert "speech" in dataset_names()


def test_the_error_for_an_unknown_data_set_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"data\.name: unknown data set 'speach'; nearest: 'speech'"):
        load_dataset("speach")


def test_the_error_for_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown key of speech 'positive'; nearest: 'positives'"):
        load_dataset("speech", positive=["yes"])


def test_the_error_names_a_missing_key() -> None:
    with pytest.raises(UserError, match=r"data\.positives: data set 'speech' needs this key"):
        load_dataset("speech", root=None, negatives={}, seed=0, clips_per_class=10)


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint(f.__name__, f"{__name__}:{f.__name__}", registry.GROUP) for f in (toy, broken, wrong)]
    monkeypatch.setattr(plugins_module, "entry_points", lambda group: EntryPoints(points))


@pytest.mark.usefixtures("plugins")
def test_a_plugin_gets_its_arguments_unchanged() -> None:
    data = load_dataset("toy", size=3, colour="blue")
    assert len(data.train) == 3 and data.source == "blue"


@pytest.mark.usefixtures("plugins")
def test_an_error_inside_a_data_set_is_not_reported_as_a_wrong_key() -> None:
    with pytest.raises(
        UserError, match=r"data: broken fails: TypeError: from inside \(.*test_registry\.py:22\)"
    ) as error:
        load_dataset("broken", size=3)
    assert isinstance(error.value.__cause__, TypeError)
    with pytest.raises(UserError, match=r"wrong returned a int, not a gatesearch\.data\.Dataset"):
        load_dataset("wrong", size=3)


def test_a_data_set_may_be_a_function_named_by_its_import_path() -> None:
    assert len(load_dataset(f"{__name__}:toy", size=3).train) == 3
    with pytest.raises(UserError, match=r"data\.name: tests\.data\.test_registry: unknown name 'toi'; nearest: 'toy'"):
        load_dataset(f"{__name__}:toi", size=3)
    with pytest.raises(UserError, match=r"unknown key of .*:toy 'sise'; nearest: 'size'"):
        load_dataset(f"{__name__}:toy", sise=3)
