"""Checks the names of classes, and the flags that say which classes are positives."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gatesearch.errors import DataError, quote

POSITIVE_KIND = "positive"  # the name of all positives together, used beside the names of negative classes


def to_flags(values: Any, where: str) -> tuple[bool, ...]:
    """Return, for each class, whether it is a positive.

    Raises:
        DataError: a value is not true or false; numbers are refused, because they could be indices of classes.

    >>> to_flags(np.array([True, False]), "data 'toy'")
    (True, False)
    """
    if isinstance(values, np.ndarray) or (isinstance(values, torch.Tensor) and _has_values(values)):
        values = values.tolist()
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise DataError(f"{where}: positive is {quote(values)}; wanted: True or False for each class")
    for value in values:
        if not isinstance(value, bool | np.bool_):
            raise DataError(f"{where}: positive holds {quote(value)}; wanted: True or False for each class")
    return tuple(bool(value) for value in values)


def _has_values(tensor: torch.Tensor) -> bool:
    return tensor.layout == torch.strided and tensor.device.type != "meta"


def check_classes(values: Any, positive: Sequence[bool], where: str) -> tuple[str, ...]:
    """Return class names, after a check that no two are equal.

    Figures are stored by name, so names must differ. Figures of all positives together have the name ``positive``.
    Figures of a negative class have the name of the class.

    Raises:
        DataError: a name occurs twice or is empty, a negative is named ``positive``, or a name has no flag.

    >>> check_classes(["yes", "no"], (True, False), "data 'toy'")
    ('yes', 'no')
    """
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise DataError(f"{where}: classes are {quote(values)}; wanted: the names of one or more classes")
    for name in values:
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"{where}: {quote(name)} names a class; wanted: text")
    classes = tuple(values)
    if len(classes) != len(positive):
        raise DataError(f"{where}: {len(classes)} classes but {len(positive)} positive flags")
    # Two equal names may be different sequences of code points, or differ in a space that a reader does not see.
    plain = [unicodedata.normalize("NFC", name).strip() for name in classes]
    for index, name in enumerate(plain):
        if name in plain[:index]:
            raise DataError(f"{where}: class {classes[index]!r} is named more than once")
    for name, is_positive in zip(classes, positive, strict=True):
        if not is_positive and name.strip() == POSITIVE_KIND:
            raise DataError(
                f"{where}: the negative class {name!r} has the name of all positives together; wanted: another name, "
                "such as 'background', or a flag that makes it a positive"
            )
    return classes
