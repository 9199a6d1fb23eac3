"""Tests of the features of a data set: augmented renditions, batches, and values that are not finite."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gatesearch.data import Dataset, Split
from gatesearch.errors import DataError
from gatesearch.training import Features, prepare
from gatesearch.training.features import Batches


class Halves(nn.Module):
    """A front end that maps [N, 8] to [N, 1, 2, 4]."""

    def forward(self, x):
        return x.view(-1, 1, 2, 4)


class Noise(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x)


class Breaks(nn.Module):
    def forward(self, x):
        torch.randn(5)
        raise RuntimeError("broken")


@pytest.fixture
def data() -> Dataset:
    def split(count: int, level: int) -> Split:
        inputs = torch.full((count, 8), level * 1000, dtype=torch.int16)
        return Split(inputs, torch.arange(count) % 3, tuple(f"{level}_{i}" for i in range(count)))

    classes = ("yes", "unknown", "silence")
    return Dataset("toy", "made here", True, classes, (True, False, False), split(9, 1), split(6, 2), split(3, 3))


def run(data: Dataset, augment: nn.Module | None, seed: int = 0, renditions: int = 3, **kwargs) -> Features:
    return prepare(data, Halves(), augment=augment, renditions=renditions, seed=seed, **kwargs)


def test_only_the_training_bank_is_augmented(data: Dataset):
    features = run(data, Noise())
    assert features.shape == (1, 2, 4)
    assert features.bank.shape == (9, 3, 1, 2, 4)
    for split, level in ((features.train, 1), (features.validation, 2), (features.test, 3)):
        assert split.features.eq(level * 1000 / 32768).all()
    assert not torch.equal(features.bank[:, 0], features.bank[:, 1])
    assert features.positive.tolist() == [True, False, False]
    assert list(features.kind_names) == ["positive", "unknown", "silence"]
    assert features.test.kinds.tolist() == [0, 1, 2]


def test_without_augmentation_the_bank_is_the_training_split(data: Dataset):
    features = run(data, None)
    assert torch.equal(features.bank[:, 0], features.train.features)
    assert features.bank.shape[1] == 1


def test_prepare_is_reproducible_for_a_seed_and_leaves_the_random_state_as_it_was(data: Dataset):
    state = torch.get_rng_state()
    first = run(data, Noise(), seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    torch.randn(17)
    assert torch.equal(run(data, Noise(), seed=4).bank, first.bank)
    assert not torch.equal(run(data, Noise(), seed=5).bank, first.bank)


def test_prepare_leaves_the_random_state_as_it_was_when_a_front_end_fails(data: Dataset):
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="broken"):
        prepare(data, Breaks(), augment=None, renditions=1, seed=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_progress_is_reported_for_each_split_and_rendition(data: Dataset):
    steps: list[int] = []
    run(data, Noise(), on_step=lambda: steps.append(1))
    assert len(steps) == 3 + 3


def test_an_epoch_sees_each_sample_at_most_once_and_drops_the_rest(features: Features):
    batches = Batches(features, 40)
    assert len(batches) == 96 // 40
    pairs = [(x, y) for x, y in batches]
    assert [len(y) for _, y in pairs] == [40, 40]
    flat = torch.cat([x for x, _ in pairs]).flatten(1)
    assert len(flat.unique(dim=0)) == 80


def test_a_batch_pairs_a_rendition_of_a_sample_with_its_label(features: Features):
    x, y = next(iter(Batches(features, 96)))
    renditions = set()
    for sample, label in zip(x, y, strict=True):
        index, rendition = torch.nonzero((features.bank == sample).flatten(2).all(2))[0].tolist()
        assert features.labels[index] == label
        renditions.add(rendition)
    assert renditions == {0, 1}


def test_batches_are_reproducible_and_differ_from_epoch_to_epoch(features: Features):
    batches = Batches(features, 32)
    torch.manual_seed(0)
    first, second = list(batches), list(batches)
    torch.manual_seed(0)
    again = list(batches)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0][0], second[0][0])


def test_batches_draw_random_numbers_only_when_they_are_used(features: Features):
    state = torch.get_rng_state()
    iter(Batches(features, 32))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_batch_larger_than_the_split_is_the_split(features: Features):
    assert [len(y) for _, y in Batches(features, 1000)] == [96]


class Spoils(Halves):
    """A front end that returns a feature that is not finite for one sample."""

    def __init__(self, level: float, value: float) -> None:
        super().__init__()
        self.level, self.value = level / 32768, value

    def forward(self, x):
        maps = super().forward(x).clone()
        maps[(x[:, 0] == self.level).nonzero()[:1], 0, 1, 2] = self.value
        return maps


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(("level", "split"), [(1000, "train"), (2000, "validation"), (3000, "test")])
def test_the_error_names_a_sample_with_features_that_are_not_finite(data: Dataset, level, split, value):
    line = rf"features of 1 of \d samples of the {split} split are not finite, first those of '{level // 1000}_0'"
    with pytest.raises(DataError, match=line):
        prepare(data, Spoils(level, value), augment=None, renditions=1, seed=0)


def test_the_error_names_an_augmentation_that_gives_values_that_are_not_finite(data: Dataset):
    class Explode(nn.Module):
        def forward(self, x):
            return x / 0

    with pytest.raises(DataError, match="features of 9 of 9 samples of the augmented train split"):
        run(data, Explode())
