"""Tests that shipped data sets pass the conformance suite, and that the suite names each broken requirement."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatesearch.data import Dataset, Split, dataset_names, load_dataset
from gatesearch.testing.data import DatasetConformance
from tests import tones


def cifar10(folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    arrays = {f"x_{part}": rng.integers(256, size=(40, 32, 32, 3), dtype=np.uint8) for part in ("train", "test")}
    labels = {f"y_{part}": np.arange(40) % 10 for part in ("train", "test")}
    np.savez(folder / "small.npz", **arrays, **labels)
    return {"root": str(folder / "small.npz"), "validation": 20}


def sound(folder: Path) -> dict[str, Any]:
    audio = (3000 * np.random.default_rng(0).standard_normal((40, 4096))).astype(np.int16)
    labels, folds = np.arange(40) % 2, np.arange(40) // 2
    np.savez(folder / "clips.npz", audio=audio, sample_rate=8000, label=labels, fold=folds, classes=["dog", "rain"])
    return {"root": str(folder / "clips.npz"), "seconds": 0.1, "windows": 40}


def speech(folder: Path) -> dict[str, Any]:
    return {
        "root": str(tones.write(folder / "tones")),
        "positives": ["up", "down"],
        "negatives": {"unknown": ["*"], "silence": ["_silence_"]},
        "seed": 0,
        "clips_per_class": 10,
    }


def scenes(folder: Path) -> dict[str, Any]:
    return {
        "sources": [
            {"kind": "synthetic_speech", "events": ["stop"], "utterances": 10, "sentences": 6},
            {"kind": "synthetic_noise", "clips": 3, "seconds": 5.0},
        ],
        "hours": {"train": 0.02, "validation": 0.02, "test": 0.02},
        "segment_s": [3, 5],
        "windows": 120,
    }


SHIPPED: dict[str, Callable[[Path], dict[str, Any]]] = {
    "cifar10": cifar10,
    "digits": lambda folder: {"positives": ["3"]},
    "har": lambda folder: {"windows_per_subject": 10},
    "scenes": scenes,
    "sound": sound,
    "speech": speech,
}


@pytest.mark.parametrize("name", SHIPPED)
class TestShipped(DatasetConformance):
    @pytest.fixture(autouse=True)
    def choose(self, name: str, tmp_path: Path) -> None:
        self.name, self.arguments = name, SHIPPED[name](tmp_path)

    def load(self) -> Dataset:
        return load_dataset(self.name, **self.arguments)


def test_the_suite_covers_every_shipped_data_set() -> None:
    assert set(SHIPPED) == set(dataset_names())


def split(name: str, inputs: torch.Tensor | None = None) -> Split:
    inputs = torch.zeros(4, 8) if inputs is None else inputs
    return Split(inputs, torch.tensor([0, 1, 0, 1]), tuple(f"{name}/{i}" for i in range(4)))


GOOD = Dataset(
    name="toy",
    source="made here",
    synthetic=True,
    classes=("yes", "no"),
    positive=(True, False),
    train=split("train"),
    validation=split("validation"),
    test=split("test"),
)


def suite_of(**changes: Any) -> DatasetConformance:
    class Suite(DatasetConformance):
        def load(self) -> Dataset:
            return dataclasses.replace(GOOD, **changes)

    return Suite()


def test_a_good_data_set_conforms() -> None:
    suite = suite_of()
    for name in dir(suite):
        if name.startswith("test_"):
            getattr(suite, name)()


@pytest.mark.parametrize(
    ("test", "changes", "message"),
    [
        ("test_inputs_are_finite_and_of_one_shape", {"test": split("test", torch.full((4, 8), torch.nan))}, "finite"),
        ("test_inputs_are_finite_and_of_one_shape", {"test": split("test", torch.zeros(4, 9))}, "differ in shape"),
        ("test_splits_do_not_overlap", {"test": split("train")}, "'train/0' is in the train and in the test split"),
        ("test_classes_are_named_once", {"classes": ("yes", "yes")}, "'yes' is named more than once"),
        ("test_there_is_a_positive_class", {"positive": (False, False)}, "no class is a positive"),
        (
            "test_every_class_is_in_the_training_split",
            {"classes": ("yes", "no", "maybe"), "positive": (True, False, False)},
            "no sample of class 'maybe'",
        ),
        ("test_noise_fits_the_inputs", {"noise": torch.zeros(2, 7)}, "shorter than a clip"),
        ("test_name_and_source_are_stated", {"source": ""}, "must say what the data are"),
    ],
)
def test_the_suite_names_a_broken_promise(test: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        getattr(suite_of(**changes), test)()
