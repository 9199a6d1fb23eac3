"""Tests of reading CIFAR-10: its files, its splits, and errors that name a wrong file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.data.cifar10 import CLASSES, load
from gatesearch.data.labels import stratified_order
from gatesearch.errors import UserError

REAL = os.environ.get("GATESEARCH_CIFAR10")
Arrays = dict[str, npt.NDArray[Any]]


def arrays(train: int = 200, test: int = 50) -> Arrays:
    """Return images whose pixels encode their position: red is the image's index, green the row, blue the column."""

    def images(count: int) -> npt.NDArray[np.uint8]:
        red, green, blue = np.meshgrid(np.arange(count), np.arange(32), np.arange(32), indexing="ij")
        return np.stack([red, green, blue], -1).astype(np.uint8)

    return {
        "x_train": images(train),
        "y_train": (np.arange(train) % 10).astype(np.uint8),
        "x_test": images(test),
        "y_test": (np.arange(test) % 10).astype(np.uint8),
    }


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    np.savez(tmp_path / "small.npz", **arrays())
    return tmp_path / "small.npz"


def write_binary(folder: Path, whole: Arrays) -> Path:
    folder.mkdir(parents=True)

    def records(part: str) -> npt.NDArray[np.uint8]:
        planes = whole[f"x_{part}"].transpose(0, 3, 1, 2).reshape(-1, 3 * 32 * 32)
        return np.concatenate([whole[f"y_{part}"][:, None], planes], 1)

    for i, batch in enumerate(np.split(records("train"), 5), 1):
        batch.tofile(folder / f"data_batch_{i}.bin")
    records("test").tofile(folder / "test_batch.bin")
    return folder


def test_images_are_channels_first_and_keep_their_labels(npz: Path) -> None:
    data = load(str(npz), validation=50)
    assert (len(data.train), len(data.validation), len(data.test)) == (150, 50, 50)
    assert data.classes == CLASSES and not data.synthetic
    for split in (data.train, data.validation, data.test):
        assert split.inputs.dtype == torch.uint8 and split.inputs.shape[1:] == (3, 32, 32)
        assert (split.inputs[:, 0] == split.inputs[:, 0, :1, :1]).all()
        assert (split.inputs[:, 1] == torch.arange(32)[:, None]).all()
        assert (split.inputs[:, 2] == torch.arange(32)).all()
        image = split.inputs[:, 0, 0, 0].long()
        assert (split.labels == image % 10).all()
        assert [int(name.rpartition("/")[2]) for name in split.names] == image.tolist()
    assert data.test.labels.tolist() == [i % 10 for i in range(50)]


def test_splits_are_disjoint_balanced_and_seeded(npz: Path) -> None:
    first, again, other = (load(str(npz), validation=50, seed=seed) for seed in (0, 0, 1))
    assert set(first.train.names) | set(first.validation.names) == {f"train/{i:05d}" for i in range(200)}
    assert first.validation.labels.bincount().tolist() == [5] * 10
    assert first.train.names == again.train.names
    assert set(first.validation.names) != set(other.validation.names)


def test_fewer_training_images_are_a_balanced_subset(npz: Path) -> None:
    whole, forty, ten = (load(str(npz), train=count, validation=50) for count in (None, 40, 10))
    assert forty.train.labels.bincount().tolist() == [4] * 10
    assert ten.train.labels.bincount().tolist() == [1] * 10
    assert set(ten.train.names) < set(forty.train.names) < set(whole.train.names)
    assert whole.validation.names == forty.validation.names == ten.validation.names
    assert "40 of the other 150 used" in forty.source and "used" not in whole.source


@pytest.mark.parametrize("place", ["itself", "its folder", "by name among others"])
def test_the_npz_is_found_in_its_folder(npz: Path, place: str) -> None:
    root = npz if place == "itself" else npz.parent
    if place == "by name among others":
        (npz.parent / "another.npz").write_bytes(b"not this one")
        npz.rename(npz.with_name("cifar10.npz"))
    assert len(load(str(root), validation=50).test) == 50


@pytest.mark.parametrize("place", ["itself", "its parent"])
def test_the_binary_files_hold_the_same_images_as_the_npz(npz: Path, tmp_path: Path, place: str) -> None:
    folder = write_binary(tmp_path / "unpacked" / "cifar-10-batches-bin", arrays())
    root = folder if place == "itself" else folder.parent
    ours, theirs = load(str(root), validation=50), load(str(npz), validation=50)
    for split in ("train", "validation", "test"):
        assert torch.equal(getattr(ours, split).inputs, getattr(theirs, split).inputs)
        assert torch.equal(getattr(ours, split).labels, getattr(theirs, split).labels)


def test_labels_of_keras_with_a_second_axis_are_read(tmp_path: Path) -> None:
    whole = arrays()
    np.savez(tmp_path / "keras.npz", **{k: v[:, None] if k[0] == "y" else v for k, v in whole.items()})
    assert load(str(tmp_path / "keras.npz"), validation=50).train.labels.shape == (150,)


def test_all_classes_are_positives_unless_some_are_named(npz: Path) -> None:
    whole = load(str(npz), validation=50)
    assert whole.positive == (True,) * 10 and whole.kind_names == ("positive",)
    cats = load(str(npz), validation=50, positives=["cat", "dog"])
    assert cats.classes == CLASSES
    assert [name for name, positive in zip(cats.classes, cats.positive, strict=True) if positive] == ["cat", "dog"]
    assert len(cats.kind_names) == 9 and cats.kind_names[1] == "airplane"
    assert cats.is_positive(cats.test.labels).tolist() == [i % 10 in (3, 5) for i in range(50)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"positives": ["cats"]}, "data.positives: unknown class 'cats'; nearest: 'cat'"),
        ({"positives": "cat"}, "data.positives: 'cat'; wanted: all, or a list of classes"),
        ({"positives": []}, r"data.positives: \[\]; wanted"),
        ({"validation": 0}, "data.validation: 0 images; wanted: a whole number from 10 to 190"),
        ({"validation": 191}, "data.validation: 191 images"),
        ({"validation": 50, "train": 151}, "data.train: 151 images; wanted: a whole number from 10 to 150"),
        ({"validation": 50, "train": 9}, "data.train: 9 images"),
        ({"validation": 50, "train": 1e2}, "data.train: 100.0 images"),
        ({"validation": True}, "data.validation: True images"),
    ],
)
def test_errors_name_wrong_arguments(npz: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(str(npz), **arguments)


def remove_array(key: str) -> Callable[[Arrays], Arrays]:
    return lambda whole: {k: v for k, v in whole.items() if k != key}


def replace_array(key: str, value: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> Callable[[Arrays], Arrays]:
    return lambda whole: {**whole, key: value(whole[key])}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove_array("y_test"), "lacks y_test; wanted: an .npz with x_train"),
        (replace_array("x_train", lambda x: x.transpose(0, 3, 1, 2)), r"x_train of .* is uint8 \[200, 3, 32, 32\]"),
        (replace_array("x_test", lambda x: x / 255), r"x_test of .* is float64 \[50, 32, 32, 3\]"),
        (replace_array("y_train", lambda y: y[:-1]), r"y_train of .* is uint8 \[199\]; wanted: whole numbers \[200\]"),
        (replace_array("y_train", lambda y: y.astype(float)), "y_train of .* is float64"),
        (replace_array("y_test", lambda y: y + 1), "y_test of .* has labels 1 to 10; wanted: labels 0 to 9"),
        (lambda whole: {**whole, "x_test": whole["x_test"][:0], "y_test": whole["y_test"][:0]}, "has no images"),
        (replace_array("y_test", lambda y: y.astype(object)), "cannot be read as an .npz"),
    ],
)
def test_errors_name_wrong_arrays(tmp_path: Path, damage: Callable[[Arrays], Arrays], message: str) -> None:
    np.savez(tmp_path / "damaged.npz", **damage(arrays()))
    with pytest.raises(UserError, match=message) as error:
        load(str(tmp_path / "damaged.npz"), validation=50)
    assert "\n" not in str(error.value)


def test_without_data_the_error_says_where_to_get_it(tmp_path: Path) -> None:
    for root, message in (
        (None, "data.root: CIFAR-10 has to be downloaded first"),
        (str(tmp_path / "nowhere"), "nowhere does not exist"),
        (str(tmp_path), "holds no CIFAR-10"),
    ):
        with pytest.raises(UserError, match=rf"{message}; unpack cifar-10-binary.tar.gz .* or an .npz with"):
            load(root)


def test_pickles_are_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(b"cposix\nsystem\n")
    for root in (folder, tmp_path):
        with pytest.raises(UserError, match=r"pickled files, which can run code .* cifar-10-binary.tar.gz"):
            load(str(root))


def test_a_folder_with_two_npz_files_is_ambiguous(npz: Path) -> None:
    (npz.parent / "more.npz").touch()
    with pytest.raises(UserError, match=r"holds 2 .npz files and none is cifar10.npz"):
        load(str(npz.parent))


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut short"])
def test_a_file_that_is_not_an_npz_gives_an_error_of_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "wrong.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"wrong.npz cannot be read as an .npz with x_train") as error:
        load(str(tmp_path / "wrong.npz"))
    assert "\n" not in str(error.value)


def test_an_npy_file_is_not_an_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", arrays()["x_train"])
    with pytest.raises(UserError, match=r"images.npy cannot be read as an .npz"):
        load(str(tmp_path / "images.npy"))


def test_errors_name_binary_files_that_are_missing_or_truncated(tmp_path: Path) -> None:
    folder = write_binary(tmp_path / "cifar-10-batches-bin", arrays())
    (folder / "data_batch_3.bin").write_bytes(b"1234")
    with pytest.raises(UserError, match=r"data_batch_3.bin has 4 bytes, not a multiple of 3073"):
        load(str(folder))
    (folder / "data_batch_2.bin").unlink()
    with pytest.raises(UserError, match=r"data_batch_2.bin cannot be read \(No such file or directory\)"):
        load(str(folder))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(0, 3))
def test_the_order_is_a_permutation_whose_prefixes_keep_the_class_shares(counts: list[int], seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    order = stratified_order(labels, seed)
    assert sorted(order) == list(range(len(labels)))
    class_counts = (labels[order][:, None] == np.arange(len(counts))).cumsum(0)
    expected_counts = np.arange(1, len(labels) + 1)[:, None] * np.array(counts) / len(labels)
    # The order sorts samples by keys: sample j of the n samples of a class has the key (j + 1/2) / n. So up to any key,
    # the count of each class is off by at most half a sample. With k classes, the length of the prefix up to this key
    # is off by at most k / 2 samples. The two errors add up to (k + 1) / 2.
    assert np.abs(class_counts - expected_counts).max() <= (len(counts) + 1) / 2


@pytest.mark.skipif(REAL is None, reason="set GATESEARCH_CIFAR10 to CIFAR-10 as .npz or cifar-10-batches-bin")
def test_the_real_files_can_be_read() -> None:
    data = load(REAL)
    assert (len(data.train), len(data.validation), len(data.test)) == (45_000, 5_000, 10_000)
    assert data.train.labels.bincount().tolist() == [4500] * 10
    assert data.validation.labels.bincount().tolist() == [500] * 10
    assert data.test.labels.bincount().tolist() == [1000] * 10
    # The mean colour of CIFAR-10's training images is well known: .4914, .4822, .4465.
    mean = torch.cat([data.train.inputs, data.validation.inputs]).double().mean((0, 2, 3)) / 255
    torch.testing.assert_close(mean, torch.tensor([0.4914, 0.4822, 0.4465]).double(), atol=1e-4, rtol=0)
