"""Checks the values that a recipe has under ``augment``."""

from __future__ import annotations

from collections.abc import Sequence

from gatesearch.errors import UserError


def check_range(key: str, values: Sequence[float]) -> tuple[float, float]:
    """Return the lowest and the highest value.

    Raises:
        UserError: the values are not two values in rising order.

    >>> check_range("speed", [0.9, 1.1])
    (0.9, 1.1)
    """
    if len(values) != 2 or not values[0] <= values[1]:
        raise UserError(f"augment.{key}: {list(values)!r}; wanted: [lowest, highest]")
    return float(values[0]), float(values[1])


def check_not_negative(unit: str = "", **values: float) -> None:
    """Check that no value is negative; each value is named by its key in the recipe.

    Raises:
        UserError: a value is negative.
    """
    for key, value in values.items():
        if value < 0:
            raise UserError(f"augment.{key}: {value!r}; wanted: 0 or more{unit}")
