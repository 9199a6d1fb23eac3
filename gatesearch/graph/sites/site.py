"""The two kinds of site as values: a cut between two parts of a network, and a replaceable layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from gatesearch.errors import unknown

INPUT = "input"


class _Shaped:
    """The common part of both kinds of site: the shape of the tensor that a site outputs for one sample."""

    __slots__ = ()
    shape: tuple[int, ...]
    channel_axis: int

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.shape[self.channel_axis]

    @property
    def elements(self) -> int:
        """Number of values in one sample's tensor."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class CutSite(_Shaped):
    """A place between two parts of a network that exactly one tensor crosses.

    Args:
        name: name of the outermost module that ends at the site, or of the operation; ``"input"`` for the input.
        shape: shape of the crossing tensor for one sample, without the batch.
        macs_before: multiply-accumulates per sample before the site.
        macs_after: multiply-accumulates per sample after the site.
        params_before: number of parameters before the site.
        params_after: number of parameters after the site.
        node: name of the node of the traced graph whose output crosses.
        channel_axis: which axis of ``shape`` has the channels: the first one of a feature map, the last one of tokens.
        class_token: whether the first token is a class token, which gathers information from all others.
        output: shape of the network's output for one sample; empty if it is unknown.
    """

    name: str
    shape: tuple[int, ...]
    macs_before: int
    macs_after: int
    params_before: int
    params_after: int
    node: str
    channel_axis: int = 0
    class_token: bool = False
    output: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerSite(_Shaped):
    """A layer that a gate may replace; a convolution that is a layer site has no groups.

    Args:
        name: path of the layer in the backbone.
        op: ``"conv2d"``, ``"linear"``, ``"lstm"`` or ``"gru"``.
        shape_in: shape of one sample's input; [steps, features] for a recurrent layer.
        shape: shape of one sample's output; [steps, features] for a recurrent layer.
        macs: multiply-accumulates of the layer per sample.
        params: number of parameters of the layer.
        norm: path of the batch normalisation behind the layer; None where there is none. The normalisation has to be
            the only reader of the layer's output, and no other layer may use it.
        activation: path or name of the ReLU behind ``norm``, or behind the layer if ``norm`` is None; None where there
            is none. The ReLU has to be the only reader of its input.
        source: name of the layer site whose output channels are this layer's input channels; None where there is none.
            Between the two layers, only channel-wise operations that map zero to zero are allowed.
        depth: number of stacked layers of a recurrent layer.
        directions: number of directions of a recurrent layer: 2 if it is bidirectional, else 1.
        geometry: for a convolution: height, width and channels of the input; output channels; then kernel, stride,
            padding and dilation, each vertical and horizontal. Empty for other layers, and for a padding that is given
            by name or does not pad zeros.
        positive: whether the layer's inputs are never negative, because a ReLU or ReLU6 computes them.
    """

    name: str
    op: str
    shape_in: tuple[int, ...]
    shape: tuple[int, ...]
    macs: int
    params: int
    norm: str | None = None
    activation: str | None = None
    source: str | None = None
    depth: int = 1
    directions: int = 1
    geometry: tuple[int, ...] = ()
    positive: bool = False

    @property
    def channel_axis(self) -> int:  # type: ignore[override]
        """Which axis of ``shape`` has the channels: the first one of a convolution, else the last one."""
        return 0 if self.op == "conv2d" else len(self.shape) - 1

    @property
    def is_recurrent(self) -> bool:
        """Whether the layer runs step by step, as an LSTM and a GRU do."""
        return self.op in ("lstm", "gru")


Site = CutSite | LayerSite
AnySite = TypeVar("AnySite", CutSite, LayerSite)


def worthwhile(sites: tuple[CutSite, ...], min_work: float) -> tuple[CutSite, ...]:
    """Return the sites that have enough work between them; the input always stays.

    Args:
        sites: cut sites in order.
        min_work: share of all multiply-accumulates that must lie between a returned site and the returned site before
            it, and between the last one and the output.
    """
    total = sites[0].macs_before + sites[0].macs_after
    chosen: list[CutSite] = []
    for site in sites:
        since = site.macs_before - (chosen[-1].macs_before if chosen else 0)
        if site.name == INPUT or (since >= min_work * total and site.macs_after >= min_work * total):
            chosen.append(site)
    return tuple(chosen)


def find(sites: Sequence[AnySite], name: str, where: str = "plan") -> AnySite:
    """Return the site of that name.

    Raises:
        UserError: no site has this name; the message names the nearest one.
    """
    for site in sites:
        if site.name == name:
            return site
    raise unknown(where, "site", name, [site.name for site in sites])
