"""Tests of the types Split and Dataset: their labels, classes, and kinds of samples."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gatesearch._lib.tensors import to_float
from gatesearch.data import Dataset, Split


def split_of(labels: list[int]) -> Split:
    return Split(torch.zeros(len(labels), 4), torch.tensor(labels), tuple(map(str, labels)))


def dataset(positive: tuple[bool, ...]) -> Dataset:
    split = split_of(list(range(len(positive))))
    classes = tuple(f"class{i}" for i in range(len(positive)))
    return Dataset("toy", "made here", True, classes, positive, split, split, split)


@given(st.lists(st.booleans(), min_size=1, max_size=8))
def test_every_label_has_the_kind_with_its_name(positive: list[bool]) -> None:
    data = dataset(tuple(positive))
    kinds = [data.kind_names[kind] for kind in data.kinds(data.train.labels).tolist()]
    assert kinds == ["positive" if wakes else name for name, wakes in zip(data.classes, positive, strict=True)]
    assert data.is_positive(data.train.labels).tolist() == positive
    assert len(data.kind_names) == 1 + positive.count(False)


def test_a_split_needs_a_label_and_a_name_for_every_input() -> None:
    with pytest.raises(ValueError, match="2 inputs, 1 labels, 2 names"):
        Split(torch.zeros(2, 4), torch.zeros(1, dtype=torch.int64), ("a", "b"))


def test_a_data_set_needs_a_class_for_every_label() -> None:
    good, bad = split_of([0]), split_of([1])
    with pytest.raises(ValueError, match="outside the 1 classes"):
        Dataset("toy", "made here", True, ("yes",), (True,), good, good, bad)
    with pytest.raises(ValueError, match="1 classes but 2"):
        Dataset("toy", "made here", True, ("yes",), (True, False), good, good, good)


def test_to_float_does_not_change_floats() -> None:
    wave = torch.tensor([3.5, -2.0])
    assert to_float(wave) is wave
