"""Loads scikit-learn's handwritten digits: real images for tests and first runs, without a download."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from gatesearch._lib.plugins import need
from gatesearch.data.labels import positive_flags, stratified_order
from gatesearch.data.types import Dataset, Split

CLASSES = tuple("0123456789")
DARKEST_VALUE = 16  # largest pixel value in scikit-learn; a value counts the black dots in a square of 4 x 4


def load(seed: int = 0, positives: Sequence[str] | str = "all") -> Dataset:
    """Load 1,797 images of 8 x 8 pixels, split 60/20/20; each class has the same share in every split.

    Args:
        seed: the seed of the split.
        positives: the digits to wake for, with all others as negatives; or ``"all"``, for no negatives.

    Returns:
        A data set of uint8 images [N, 1, 8, 8], from 0 to 255 in 17 steps, with ten classes.

    Raises:
        UserError: a positive is no digit.

    >>> data = load(positives=["3", "7"])
    >>> data.train.inputs.shape, len(data.validation), len(data.test), data.kind_names[:3]
    (torch.Size([1079, 1, 8, 8]), 359, 359, ('positive', '0', '1'))
    """
    flags = positive_flags(CLASSES, positives)
    need("data.name: digits", "sklearn")
    from sklearn.datasets import load_digits  # a slow import

    images, labels = load_digits().images, load_digits().target
    pixels = np.rint(images * (255 / DARKEST_VALUE)).astype(np.uint8)[:, None]
    order = stratified_order(labels, seed)
    fifth = round(len(order) / 5)
    test, validation, train = (
        Split(
            torch.from_numpy(pixels[chosen]),
            torch.from_numpy(labels[chosen].astype(np.int64)),
            tuple(f"digit/{i:04d}" for i in chosen),
        )
        for chosen in np.split(order, [fifth, 2 * fifth])
    )
    return Dataset(
        name="digits",
        source="scikit-learn's copy of the test part of UCI's optical recognition of handwritten digits: "
        f"{len(order):,} images, split 60/20/20 (stratified, seed {seed}); the writers are not recorded, so they are "
        "mixed among the splits",
        synthetic=False,
        classes=CLASSES,
        positive=flags,
        train=train,
        validation=validation,
        test=test,
    )
