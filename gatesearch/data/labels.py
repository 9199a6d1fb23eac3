"""Marks the positive classes, and orders samples so that each class has the same share in every split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gatesearch import errors
from gatesearch.errors import UserError


def positive_flags(classes: Sequence[str], positives: Sequence[object] | str) -> tuple[bool, ...]:
    """Return whether each class is a positive.

    Args:
        classes: class names; a label is an index into them.
        positives: names of the positives, or ``"all"``, for data without negatives that a gate could stop.

    Raises:
        UserError: a name is no class, or the value is neither ``"all"`` nor a list of names.

    >>> positive_flags(("cat", "dog", "ship"), ["cat", "dog"]), positive_flags(("cat", "dog"), "all")
    ((True, True, False), (True, True))
    """
    if positives == "all":
        return (True,) * len(classes)
    if isinstance(positives, str) or not isinstance(positives, Sequence) or not positives:
        raise UserError(f"data.positives: {positives!r}; wanted: all, or a list of classes ({', '.join(classes)})")
    names = [str(name) for name in positives]  # YAML reads a digit as a number
    for name in names:
        if name not in classes:
            raise errors.unknown("data.positives", "class", name, classes)
    return tuple(name in names for name in classes)


def stratified_order(labels: npt.NDArray[np.integer], seed: int) -> npt.NDArray[np.int64]:
    """Return a random order of all samples in which each class has about the same share in every stretch.

    A split is a stretch of this order. The shares in a split are exact if all classes are equally large and the size of
    the split is a multiple of the number of classes. Otherwise they are off by a sample or two. Sample j of the n
    samples of a class has the key (j + 1/2) / n. Sorting all samples by their keys spreads each class evenly.

    Args:
        labels: class of every sample [N].
        seed: the seed of the order.

    >>> labels = np.repeat([0, 1, 2], 4)
    >>> sorted(labels[stratified_order(labels, seed=0)[:6]].tolist())
    [0, 0, 1, 1, 2, 2]
    """
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    key = np.empty(len(labels))
    for label in np.unique(labels):
        own = shuffled[labels[shuffled] == label]
        key[own] = (np.arange(len(own)) + 0.5) / len(own)
    order: npt.NDArray[np.int64] = shuffled[np.argsort(key[shuffled], kind="stable")]
    return order
