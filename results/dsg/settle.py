"""Finds the target for which a trained network has a wanted mean number of bits, for a fair comparison of masks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache

import torch
from scipy.optimize import brentq

from gatesearch.model import GatedModel
from results.dsg.train import quantised

TOLERANCE = 0.01  # bits
FIRST_SHIFT, LARGEST_SHIFT = 0.1, 1000.0  # of thresholds, in units of a layer's output
XTOL = 1e-7


def settle(model: GatedModel, goal: float, measure: Callable[[], float]) -> float:
    """Shift all thresholds by one amount, and the target to which training draws them, until B_avg meets a goal.

    One amount for all layers, because the target is one for all layers. What training makes of single thresholds
    stays, and as the target goes along, the threshold loss does not draw them back.

    Args:
        model: changed in place.
        goal: the goal of ``measure``.
        measure: returns B_avg of the model as it is; larger thresholds, fewer bits.

    Returns:
        The shift; the largest one tried, where none meets the goal.
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
        return 0.0 if abs(difference) < TOLERANCE else difference  # a root, for all that is asked here

    shift = 0.0
    if excess(shift):
        shift = FIRST_SHIFT if excess(0.0) > 0 else -FIRST_SHIFT
        while excess(shift) * excess(0.0) > 0 and abs(shift) < LARGEST_SHIFT:
            shift *= 4
        if excess(shift) * excess(0.0) < 0:
            shift = float(brentq(excess, 0.0, shift, xtol=XTOL, disp=False))
    place(shift)
    return shift
