"""Tests of the data set of handwritten digits from scikit-learn: its splits and classes."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier

from gatesearch._lib.tensors import to_float
from gatesearch.data.digits import load
from gatesearch.errors import UserError


def test_every_image_of_scikit_learn_is_in_one_split() -> None:
    data = load()
    assert (len(data.train), len(data.validation), len(data.test)) == (1079, 359, 359)
    original = load_digits()
    indices = set()
    for split in (data.train, data.validation, data.test):
        index = torch.tensor([int(name.rpartition("/")[2]) for name in split.names])
        assert torch.equal(split.labels, torch.from_numpy(original.target)[index])
        ink = torch.from_numpy(original.images)[index]
        assert torch.equal((split.inputs[:, 0].double() * 16 / 255).round(), ink)  # all 17 grey levels stay distinct
        indices |= set(index.tolist())
    assert indices == set(range(1797))


def test_values_reach_from_0_to_nearly_1() -> None:
    inputs = load().train.inputs
    assert inputs.dtype == torch.uint8 and inputs.shape[1:] == (1, 8, 8)
    floats = to_float(inputs)
    assert floats.min() == 0 and floats.max() == 255 / 256


def test_splits_are_balanced_and_seeded() -> None:
    first, again, other = load(0), load(0), load(1)
    share = torch.from_numpy(load_digits().target).bincount() / 1797
    for split in (first.train, first.validation, first.test):
        assert (split.labels.bincount() - share * len(split)).abs().max() <= 2
    assert first.test.names == again.test.names
    assert set(first.test.names) != set(other.test.names)


def test_positives_are_named_by_words_or_digits() -> None:
    assert load().kind_names == ("positive",)
    for three in ("3", 3):
        data = load(positives=[three])  # type: ignore[list-item]
        assert data.positive == tuple(i == 3 for i in range(10))
        assert data.kind_names == ("positive", *"012456789")
    with pytest.raises(UserError, match=r"data.positives: unknown class '10'"):
        load(positives=["10"])


def test_the_report_names_the_source_of_the_digits() -> None:
    data = load(seed=7)
    assert not data.synthetic
    for words in ("scikit-learn", "UCI", "1,797", "60/20/20", "seed 7", "writers are not recorded"):
        assert words in data.source


def test_a_linear_classifier_learns_the_digits() -> None:
    data = load()
    model = RidgeClassifier().fit(data.train.inputs.flatten(1).numpy(), data.train.labels.numpy())
    assert model.score(data.test.inputs.flatten(1).numpy(), data.test.labels.numpy()) > 0.9
