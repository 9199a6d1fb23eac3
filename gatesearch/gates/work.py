"""The computation that a gate adds and the computation that remains with it, from which the gate is priced.

A MAC is one multiply-accumulate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The cost of a placed gate, and the density of its output.

    Args:
        macs: the MACs of the gate's own parts, such as a head or a predictor, per sample that reaches the gate.
        params: the parameters of the gate's own parts.
        density: expected share of the gate's output that is not zero. At a cut site it counts the values that cross;
            at a layer site it counts the channels that the next layer reads.
    """

    macs: float
    params: int
    density: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CutWork(Work):
    """The work of a gate at a cut site, per sample.

    Args:
        kept_channels: number of the site's channels that remain after channel pruning.
        elements: number of values that can cross the cut after channel pruning.
        exit_macs: MACs of the gate's exit, per sample that leaves through it.
        exit_params: parameters of the gate's exit.
        leaving: share of all samples that should leave through the exit.
    """

    macs: int
    kept_channels: int
    elements: int
    exit_macs: int = 0
    exit_params: int = 0
    leaving: float = 0.0


class Call(NamedTuple):
    """A part of a gated layer's own work that one kernel call does.

    Args:
        bits: bits of the magnitude of an activation and of a weight.
        remaining: pairs of a unit of work and the share of these units that is still computed. The units are
            ``"channel"``, ``"channel-block-16"``, ``"element"``, ``"pixel"``, ``"pixel-group-16"`` and ``"weight"``. A
            core saves work only in the units that it can skip.
        size: share of the layer's multiplications that remains on a core that can skip nothing. It is below 1 if the
            gate replaces the layer's matrix by a smaller dense matrix.

    >>> Call((4, 8), (("channel", 0.5), ("element", 0.25))).share
    0.125
    """

    bits: tuple[int, int]
    remaining: tuple[tuple[str, float], ...] = ()
    size: float = 1.0

    @property
    def share(self) -> float:
        """Share of the layer's multiply-accumulates that remains on a core that skips all of ``remaining``."""
        return math.prod((share for _, share in self.remaining), start=self.size)


BLOCK = 16  # number of channels that kernels compute together


class KernelCall(NamedTuple):
    """One call of a C kernel of :mod:`gatesearch.kernels`; it is the key of the call's cost in a kernel table.

    Args:
        kernel: the kernel's name.
        shape: the layer's shape: a convolution's ``LayerSite.geometry``; a recurrent layer's steps, inputs and units.
        variant: the options that select a variant of the kernel, such as the block size: pairs of name and value,
            sorted by name.
        remaining: shares of the work that remain, by name; each is a number from 0 to 1 that is measured on data.
    """

    kernel: str
    shape: tuple[int, ...]
    variant: tuple[tuple[str, int | str], ...] = ()
    remaining: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWork(Work):
    """The work of a gated layer, per sample.

    Args:
        calls: the remaining parts of the layer's own work.
        stored: share of the layer's own parameters that stays in memory.
        kernels: the kernel calls that run the gated layer; empty if there is no kernel for the layer.
    """

    calls: tuple[Call, ...]
    stored: float = 1.0
    kernels: tuple[KernelCall, ...] = ()
