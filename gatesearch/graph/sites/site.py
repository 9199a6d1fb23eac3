"""The two kinds of site as values: a cut between two parts of a network, and a layer that a gate may replace."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from gatesearch.errors import unknown

INPUT = "input"


class _Shaped:
    """What both kinds of site have: the tensor of one sample that comes out of them."""

    __slots__ = ()
    shape: tuple[int, ...]
    channel_axis: int

    @property
    def channels(self) -> int:
        """Size of the axis from which channel gates remove channels."""
        return self.shape[self.channel_axis]

    @property
    def elements(self) -> int:
        """Number of values in one sample's tensor."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class CutSite(_Shaped):
    """A place where one tensor crosses.

    Args:
        name: the outermost module that ends here, or the name of the operation; ``"input"`` for the input.
        shape: the shape of one sample's tensor, batch excluded.
        macs_before, macs_after: multiply-accumulates a sample on either side.
        params_before, params_after: parameters on either side.
        node: name of the node of the traced graph whose output crosses.
        channel_axis: which axis of ``shape`` has the channels: the first one of a feature map, the last one of tokens.
        class_token: whether the first of the tokens is a learned one that gathers what the others hold.
        output: shape of the network's output for one sample; empty where that is unknown.
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
    """A layer that a gate may replace.

    Args:
        name: path of the layer in the backbone.
        op: ``"conv2d"``, ``"linear"``, ``"lstm"`` or ``"gru"``.
        shape_in, shape: of one sample's input and output; [steps, features] of a recurrent layer.
        macs, params: of the layer.
        norm: path of the batch normalisation that alone reads the layer's output, and that reads nothing else; None
            where there is none.
        activation: path or name of the ReLU that alone reads what comes out of that; None where there is none.
        source: name of the layer site whose output channels, through channel-wise operations only that keep zero at
            zero, are this layer's input channels; None where there is none.
        depth, directions: of a recurrent layer: its number of stacked layers, and 2 where it is bidirectional.
        geometry: of a convolution: height, width and channels of its input, its output channels, then kernel, stride,
            padding and dilation, each vertical and horizontal; empty where it pads by name or with anything but zeros.
        positive: whether no value that it reads is negative, because a ReLU made them all.
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
        """Which axis of ``shape`` has the channels: all but convolutions work on the last one."""
        return 0 if self.op == "conv2d" else len(self.shape) - 1

    @property
    def is_recurrent(self) -> bool:
        """Whether the layer runs step by step: many small operators a window."""
        return self.op in ("lstm", "gru")


def reads_all_channels(site: LayerSite) -> bool:
    """Say whether a convolution has no groups: a grouped one reads a fraction of its input channels for each value.

    >>> reads_all_channels(LayerSite("0", "conv2d", (3, 8, 8), (4, 6, 6), 3888, 112))
    True
    """
    # Multiply-accumulates a value are input channels times kernel.
    return site.macs // site.elements % site.shape_in[0] == 0


Site = CutSite | LayerSite
AnySite = TypeVar("AnySite", CutSite, LayerSite)


def worthwhile(sites: tuple[CutSite, ...], min_work: float) -> tuple[CutSite, ...]:
    """Return the sites with enough work between them to make a difference where a gate stands.

    Args:
        sites: in order.
        min_work: share of all MACs that must lie between a site and the one before it, and after the last one.
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
        UserError: there is none; the message names the nearest.
    """
    for site in sites:
        if site.name == name:
            return site
    raise unknown(where, "site", name, [site.name for site in sites])
