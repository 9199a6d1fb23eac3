"""Shifts the thresholds of precision gating until a network has a given mean number of bits.

After such a shift, different masks can be compared at equal work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache

import torch
from scipy.optimize import brentq

from gatesearch.model import GatedModel
from results.dsg.train import quantised

TOLERANCE = 0.01  # bits
FIRST_SHIFT, LARGEST_SHIFT = 0.1, 1000.0  # shifts of thresholds, in units of a layer's output
XTOL = 1e-7  # precision of a shift, in the same units


def shift_thresholds(model: GatedModel, goal: float, measure: Callable[[], float]) -> float:
    """Add the same amount to all thresholds and to their target, so that B_avg meets a goal.

    B_avg is the mean number of bits of an output. The differences between thresholds, which training has learnt, stay.
    The threshold loss pulls thresholds towards the target. The target shifts, too, so the loss does not undo the shift.
    All layers have the same target, so they get the same shift.

    Args:
        model: the model, changed in place.
        goal: the value that ``measure`` has to return.
        measure: a function that returns B_avg of the model; B_avg falls as thresholds rise.

    Returns:
        The amount; if no amount meets the goal, the largest amount that was tried.
    """
    layers = quantised(model)
    starts = [(layer.threshold.detach().clone(), layer.settings.target) for layer in layers]

    def place(shift: float) -> None:
        for layer, (threshold, target) in zip(layers, starts, strict=True):
            layer.settings = dataclasses.replace(layer.settings, target=target + shift)
            with torch.no_grad():
                layer.threshold.copy_(threshold + shift)

    @cache
    def excess(shift: float) -> float:
        place(shift)
        difference = measure() - goal
        return 0.0 if abs(difference) < TOLERANCE else difference  # the root search stops at a zero

    shift = 0.0
    if excess(shift):
        shift = FIRST_SHIFT if excess(0.0) > 0 else -FIRST_SHIFT
        while excess(shift) * excess(0.0) > 0 and abs(shift) < LARGEST_SHIFT:
            shift *= 4
        if excess(shift) * excess(0.0) < 0:
            shift = float(brentq(excess, 0.0, shift, xtol=XTOL, disp=False))
    place(shift)
    return shift
