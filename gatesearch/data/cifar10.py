"""Loads CIFAR-10: 60,000 colour images of ten classes (Krizhevsky 2009).

The reference is A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from gatesearch.data.archives import read_archive
from gatesearch.data.labels import positive_flags, stratified_order
from gatesearch.data.types import Dataset, Split
from gatesearch.data.wav_files import check_file
from gatesearch.errors import UserError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
ARRAYS = ("x_train", "y_train", "x_test", "y_test")
BINARY, PICKLED = "cifar-10-batches-bin", "cifar-10-batches-py"
TRAIN_FILES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST_FILE = "test_batch.bin"
RECORD = 1 + 3 * 32 * 32  # bytes of a record: a label, then the red, the green and the blue plane

NPZ = f"an .npz with {', '.join(ARRAYS)} (uint8 images [N, 32, 32, 3], labels 0 to 9)"
DOWNLOAD_HINT = (
    f"unpack cifar-10-binary.tar.gz of https://www.cs.toronto.edu/~kriz/cifar.html and give its folder {BINARY}, "
    f"or {NPZ}"
)

Array = npt.NDArray[np.integer]


def load(
    root: str | None = None,
    train: int | None = None,
    validation: int = 5000,
    seed: int = 0,
    positives: Sequence[str] | str = "all",
) -> Dataset:
    """Load CIFAR-10.

    The validation split is taken from the 50,000 training images; the test split is the usual 10,000. Classes have the
    same shares in the validation split and in a smaller training split as in all training images. With the same seed
    and the same validation split, a smaller training split is a subset of a larger one.

    Args:
        root: the published folder ``cifar-10-batches-bin``, an .npz, or a folder that holds one of them. The .npz has
            the arrays ``x_train``, ``y_train``, ``x_test`` and ``y_test`` (images uint8 [N, 32, 32, 3], labels [N]).
            The pickled ``cifar-10-batches-py`` is not read, because unpickling runs any code that a file contains.
        train: number of training images, for short protocols; None for all images that are not held out.
        validation: number of images that are held out for validation.
        seed: the seed of the split.
        positives: the classes to wake for, with all others as negatives; or ``"all"``, for no negatives.

    Returns:
        A data set of uint8 images [N, 3, 32, 32], with the channels red, green and blue, and ten classes.

    Raises:
        UserError: ``root`` holds no data or data of another shape, a number of images is out of range, or a positive is
            no class.
    """
    flags = positive_flags(CLASSES, positives)
    path = _find(root)
    arrays = _read_binary(path) if path.is_dir() else _read_npz(path)
    images, labels, test_images, test_labels = arrays
    _check_count("validation", validation, len(labels) - len(CLASSES))
    available = len(labels) - validation
    if train is not None:
        _check_count("train", train, available)
    order = stratified_order(labels, seed)
    held_out, fitted = order[:validation], order[validation:][:train]
    limit = f", {len(fitted):,} of the other {available:,} used" if len(fitted) < available else ""
    return Dataset(
        name="cifar10",
        source=f"CIFAR-10 (Krizhevsky 2009) from {path.name}: {len(labels):,} training images, {validation:,} of them "
        f"held out for validation{limit} (stratified, seed {seed}); {len(test_labels):,} test images",
        synthetic=False,
        classes=CLASSES,
        positive=flags,
        train=_split(images, labels, fitted, "train"),
        validation=_split(images, labels, held_out, "train"),
        test=_split(test_images, test_labels, np.arange(len(test_labels)), "test"),
    )


def _split(images: Array, labels: Array, chosen: npt.NDArray[np.int64], name: str) -> Split:
    return Split(
        torch.from_numpy(np.ascontiguousarray(images[chosen].transpose(0, 3, 1, 2))),
        torch.from_numpy(labels[chosen].astype(np.int64)),
        tuple(f"{name}/{i:05d}" for i in chosen),
    )


def _check_count(key: str, written: object, most: int) -> None:
    whole = isinstance(written, int) and not isinstance(written, bool)
    if not whole or not len(CLASSES) <= written <= most:  # type: ignore[operator]
        raise UserError(f"data.{key}: {written!r} images; wanted: a whole number from {len(CLASSES)} to {most}")


def _find(root: str | None) -> Path:
    """Return the .npz, or the folder with the binary files."""
    if root is None:
        raise UserError(f"data.root: CIFAR-10 has to be downloaded first; {DOWNLOAD_HINT}")
    path = Path(root).expanduser()
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(f"data.root: {path} does not exist; {DOWNLOAD_HINT}")
    for folder in (path, path / BINARY):
        if (folder / TEST_FILE).exists() or (folder.name == BINARY and folder.is_dir()):
            return folder
    archives = sorted(path.glob("*.npz"))
    if (path / "cifar10.npz") in archives:
        return path / "cifar10.npz"
    if len(archives) == 1:
        return archives[0]
    if archives:
        raise UserError(f"data.root: {path} holds {len(archives)} .npz files and none is cifar10.npz; name the file")
    if any((folder / "data_batch_1").exists() for folder in (path, path / PICKLED)):
        raise UserError(
            f"data.root: {path} holds pickled files, which can run code when they are read; instead {DOWNLOAD_HINT}"
        )
    raise UserError(f"data.root: {path} holds no CIFAR-10; {DOWNLOAD_HINT}")


def _read_npz(path: Path) -> tuple[Array, Array, Array, Array]:
    """Read the four arrays of CIFAR-10 from an .npz file, and check their shapes and types."""
    arrays = read_archive(path, f"data.root: {path}", f"cannot be read as {NPZ}")
    if missing := [name for name in ARRAYS if name not in arrays]:
        raise UserError(f"data.root: {path} lacks {', '.join(missing)}; wanted: {NPZ}")
    for part in ("train", "test"):
        images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if images.shape[1:] != (32, 32, 3) or images.dtype != np.uint8:
            is_now = f"{images.dtype} {list(images.shape)}"
            raise UserError(f"data.root: x_{part} of {path} is {is_now}; wanted: uint8 [N, 32, 32, 3]")
        if labels.shape == (len(images), 1):  # Keras stores labels in this shape
            arrays[f"y_{part}"] = labels = labels[:, 0]
        if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
            is_now = f"{labels.dtype} {list(labels.shape)}"
            raise UserError(f"data.root: y_{part} of {path} is {is_now}; wanted: whole numbers [{len(images)}]")
        _check_labels(labels, f"y_{part} of {path}")
    return arrays["x_train"], arrays["y_train"], arrays["x_test"], arrays["y_test"]


def _read_binary(folder: Path) -> tuple[Array, Array, Array, Array]:
    train = [_records(folder / name) for name in TRAIN_FILES]
    images, labels = (np.concatenate(column) for column in zip(*train, strict=True))
    return (images, labels, *_records(folder / TEST_FILE))


def _records(path: Path) -> tuple[Array, Array]:
    """Return the images [N, 32, 32, 3] and labels [N] of one binary file."""
    try:
        check_file(path)
        raw = np.fromfile(path, np.uint8)
    except (OSError, UserError) as error:
        raise UserError(f"data.root: {error}; {DOWNLOAD_HINT}") from None
    if not len(raw) or len(raw) % RECORD:
        raise UserError(f"data.root: {path} has {len(raw)} bytes, not a multiple of {RECORD}; unpack the archive anew")
    records = raw.reshape(-1, RECORD)
    _check_labels(records[:, 0], str(path))
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0]


def _check_labels(labels: Array, where: str) -> None:
    if not len(labels) or labels.min() < 0 or labels.max() >= len(CLASSES):
        has = f"labels {labels.min()} to {labels.max()}" if len(labels) else "no images"
        raise UserError(f"data.root: {where} has {has}; wanted: labels 0 to {len(CLASSES) - 1}")
