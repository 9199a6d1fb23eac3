"""The interval of a price that the ranges of a device's constants give.

A constant may state a range in which its true number lies. Each such constant is set to the low and to the high end of
its range, alone, and the price is computed again. The deviations from the nominal price add in quadrature, separately
below and above it:

    low = nominal - sqrt(sum of d^2)    over the constants' largest decreases d
    high = nominal + sqrt(sum of d^2)   over the constants' largest increases d

This rule holds for independent errors whose effects are nearly linear. If all constants lay at their worst ends at
once, the price could lie outside the interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from gatesearch.cost.model import CostModel
from gatesearch.cost.sensitivity import scale_constants
from gatesearch.devices.profile import Constant, list_constants


class Effect(NamedTuple):
    """The effect of one constant's range on a figure.

    Args:
        constant: path of the constant.
        low, high: smallest and largest value of the figure over the range of this constant alone.
    """

    constant: str
    low: float
    high: float


class Interval(NamedTuple):
    """A figure with its interval.

    Args:
        nominal: the figure at the values of all constants.
        low, high: ends of the interval.
        effects: the constants that move the figure, the largest effect first.
    """

    nominal: float
    low: float
    high: float
    effects: tuple[Effect, ...]


def find_interval(cost: CostModel, figure: Callable[[CostModel], float]) -> Interval:
    """Return the interval of a figure, from the ranges of the constants of a cost model's device.

    Args:
        cost: the cost model at the constants' values.
        figure: a function that computes the figure, such as an energy, with a cost model.
    """
    nominal, effects = figure(cost), []
    for path, constant in list_constants(cost.device):
        factors = _end_factors(constant)
        if factors:
            devices = [scale_constants(cost.device, {path: factor}) for factor in factors]
            values = [nominal, *(figure(replace(cost, device=device)) for device in devices)]
            effects.append(Effect(path, min(values), max(values)))
    below = math.hypot(*(nominal - effect.low for effect in effects))
    above = math.hypot(*(effect.high - nominal for effect in effects))
    moving = [effect for effect in effects if effect.high > effect.low]
    return Interval(
        nominal=nominal,
        low=max(nominal - below, 0.0),
        high=nominal + above,
        effects=tuple(sorted(moving, key=lambda effect: effect.low - effect.high)),
    )


def _end_factors(constant: Constant) -> list[float]:
    """Return the ends of a constant's range divided by its value; none for a value of 0."""
    return [end / constant.value for end in constant.ends if end != constant.value] if constant.value else []
