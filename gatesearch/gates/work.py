"""The work of a placed gate in numbers, as prices and plans need it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a placed gate costs, and how full what it hands on is.

    Args:
        macs: of the gate's own parts, such as a head or a predictor, per sample that reaches it.
        params: of the gate's own parts.
        density: share of what it hands on that is expected not to be zero: of the values that cross at a cut site, of
            the channels that the next layer has to read at a layer site.
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

    Multiplications are between so many magnitude ``bits`` of an activation and of a weight. ``left`` names what can be
    skipped, each with the share that is left of it: ``"channel"``, ``"channel-block-16"``, ``"element"``, ``"pixel"``,
    ``"pixel-group-16"`` or ``"weight"``. A core that cannot skip the one may well skip the other. ``size`` is the share
    of the layer's multiplications that is there at all: a smaller matrix is smaller on every core.

    >>> Call((4, 8), (("channel", 0.5), ("element", 0.25))).share
    0.125
    """

    bits: tuple[int, int]
    left: tuple[tuple[str, float], ...] = ()
    size: float = 1.0

    @property
    def share(self) -> float:
        """What is left of the layer's multiply-accumulates where all is skipped that can be."""
        return math.prod((share for _, share in self.left), start=self.size)


BLOCK = 16  # channels that kernels compute together


class KernelCall(NamedTuple):
    """One run of a gated layer by a kernel of :mod:`gatesearch.kernels`, as a table of costs knows it.

    Args:
        kernel: its name.
        shape: of the layer: a convolution's ``LayerSite.geometry``, a recurrent layer's steps, inputs and units.
        variant: what else makes another program of it, by name, sorted.
        left: shares of the work that remain, by name: continuous, and known only after data came by.
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
        kernels: the runs of kernels that do all of this; none where there is no kernel, and a reference computes it.
    """

    calls: tuple[Call, ...]
    stored: float = 1.0
    kernels: tuple[KernelCall, ...] = ()
