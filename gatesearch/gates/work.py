"""The work of a placed gate in numbers, from which the cost model makes its price."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a placed gate costs, and the density of its output.

    Args:
        macs: the MACs of the gate's own parts, such as a head or a predictor, per sample that reaches it.
        params: the parameters of the gate's own parts.
        density: expected share of its output that is not zero: of the values that cross at a cut site, of the channels
            that the next layer reads at a layer site.
    """

    macs: float
    params: int
    density: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CutWork(Work):
    """The work of a gate at a cut site, per sample.

    Args:
        kept_channels: channels of the site that exist on both sides of the cut.
        elements: values that can cross, after channels were cut away.
        exit_macs, exit_params: of the gate's exit, for samples that leave through it.
        leaving: share of all samples that is meant to leave through the exit.
    """

    macs: int
    kept_channels: int
    elements: int
    exit_macs: int = 0
    exit_params: int = 0
    leaving: float = 0.0


class Call(NamedTuple):
    """A part of a layer's dense work, as one kernel call.

    Args:
        bits: magnitude bits of an activation and of a weight.
        left: what a core may skip, each with the share that remains: ``"channel"``, ``"channel-block-16"``,
            ``"element"``, ``"pixel"``, ``"pixel-group-16"`` or ``"weight"``. A core gains by those that it can skip.
        size: share of the layer's multiplications that exists on every core, as a smaller matrix has fewer.

    >>> Call((4, 8), (("channel", 0.5), ("element", 0.25))).share
    0.125
    """

    bits: tuple[int, int]
    left: tuple[tuple[str, float], ...] = ()
    size: float = 1.0

    @property
    def share(self) -> float:
        """Share of the layer's multiply-accumulates that remains on a core that skips all of ``left``."""
        return math.prod((share for _, share in self.left), start=self.size)


BLOCK = 16  # channels, which kernels compute together


class KernelCall(NamedTuple):
    """One run of a gated layer by a kernel of :mod:`gatesearch.kernels`, as a table of costs knows it.

    Args:
        kernel: its name.
        shape: of the layer: a convolution's ``LayerSite.geometry``, a recurrent layer's steps, inputs and units.
        variant: parameters other than the shape that make another program, by name, sorted.
        left: shares of the work that remain, by name; continuous, observed on data.
    """

    kernel: str
    shape: tuple[int, ...]
    variant: tuple[tuple[str, int | str], ...] = ()
    left: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWork(Work):
    """The work of a gated layer, per sample.

    Args:
        calls: what is left of the layer's own work.
        stored: share of the layer's own parameters that is kept in memory.
        kernels: the kernel calls that do all of this; empty where no kernel exists and a reference computes it.
    """

    calls: tuple[Call, ...]
    stored: float = 1.0
    kernels: tuple[KernelCall, ...] = ()
