"""Layers that compute the channels that win one by one, and hybrids: FBS and precision gating in one call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from ctypes import byref
from typing import Any, NamedTuple, cast

import numpy as np
import torch

from gatesearch.gates import BLOCK
from gatesearch.gates.fbs import FBSConv2d
from gatesearch.gates.pg import PGConv2d
from gatesearch.gates.phases import IntegerPhases
from gatesearch.kernels import native
from gatesearch.kernels.arrays import Array, address, aligned, checked
from gatesearch.kernels.conv import _call
from gatesearch.kernels.fbs_predictor import Boost, Decision, filters, plain
from gatesearch.kernels.geometry import Geometry, Pair
from gatesearch.kernels.operand_split import Pieces
from gatesearch.kernels.pg import check_bits, check_sums, sizes, whole_products


class Live(NamedTuple):
    """What of a map's channels is there: ascending groups of ``size`` channels, int32; the others are zero."""

    groups: Array
    size: int

    def channels(self, count: int) -> Array:
        """Return the channels, of ``count`` in all.

        >>> Live(np.array([1]), 16).channels(20).tolist()
        [16, 17, 18, 19]
        """
        found = (self.groups[:, None] * self.size + np.arange(self.size)).ravel()
        return found[found < count]


class Chosen(ABC):
    """Float32 x [h, w, c_in] to y [h', w', c_out]; what wins is decided, and only it is computed.

    Args:
        geometry: of the convolution.
        boost: what decides, and the norm; its block is 1 or 16.
        relu: whether what is negative becomes 0.
        library: None is the best for this CPU.

    Raises:
        ValueError: there is no kernel for such blocks, or more would win than there are.
    """

    def __init__(self, geometry: Geometry, boost: Boost, relu: bool, library: native.Library | None) -> None:
        self.geometry, self.boost, self.relu = geometry, boost, relu
        self._decision = Decision(geometry, boost, (1, BLOCK), library)
        self.library = self._decision.library
        if self.library:
            self._shape = geometry.c

    def __call__(self, x: Any, live: Live | None = None) -> tuple[Array, Array]:
        """Return y, losers being 0, and the groups that won, ascending.

        Args:
            x: float32 [h, w, c_in].
            live: what of x is there; None is all.
        """
        image = checked(x, "x", np.float32, (*self.geometry.image, self.geometry.c_in))
        y = np.full((*self.geometry.output, self.geometry.c_out), np.nan, np.float32)
        winners = np.zeros(self.boost.winners, np.int32)
        self.bind(image, y, winners, live)()
        return y, winners

    def bind(
        self, x: Array, y: Array, winners: Array, live: Live | None = None, whole: bool = True
    ) -> Callable[[], None]:
        """Return the call for arrays that stay where they are.

        Args:
            x, y: see above.
            winners: takes the groups that win, int32.
            live: what of x is there.
            whole: whether losers are cleared; else they are left as they are.
        """
        g = self.geometry
        checked(x, "x", np.float32, (*g.image, g.c_in)), checked(y, "y", np.float32, (*g.output, g.c_out))
        checked(winners, "winners", np.int32, (self.boost.winners,))
        if not self.library:
            return lambda: self._by_reference(x, y, winners, live)
        groups, size = (None, BLOCK) if live is None else live
        name, own, scratch = self._native()
        read = (address(x), address(groups), 0 if groups is None else len(groups), size)
        rest = (int(whole), address(y), address(winners), address(scratch))
        arguments = (byref(self._shape), byref(self._decision.c), *own[0], *read, *own[1], int(self.relu), *rest)
        return _call(self.library.function(name), arguments, x, y, winners, groups, self)

    def reference(self, x: Array, live: Live | None = None) -> tuple[Array, Array]:
        """Compute the same with torch and numpy: everything, and then only what wins."""
        g, boost = self.geometry, self.boost
        there = np.zeros_like(x)
        channels = np.arange(g.c_in) if live is None else live.channels(g.c_in)
        there[..., channels] = x[..., channels]
        factor, winners = self._decision.reference(there.mean((0, 1), dtype=np.float32))
        won = Live(winners, boost.block).channels(g.c_out)
        y = factor * (boost.slope * self._products(there, won) + boost.offset) + boost.beta
        y = np.maximum(y, 0) if self.relu else y
        made = np.zeros((*g.output, g.c_out), np.float32)
        made[..., won] = y[..., won]
        return made, winners

    @abstractmethod
    def _native(self) -> tuple[str, tuple[tuple[Any, ...], tuple[Any, ...]], Array]:
        """Return the kernel's name, its own arguments in front of the input and behind it, and scratch memory."""

    @abstractmethod
    def _products(self, x: Array, won: Array) -> Array:
        """Return what the convolution gives for the channels that won [h', w', c_out]."""

    def _by_reference(self, x: Array, y: Array, winners: Array, live: Live | None) -> None:
        y[...], winners[:] = self.reference(x, live)


class FBSSingle(Chosen):
    """Feature boosting and suppression of single channels, and unless ``relu`` is False the ReLU behind it.

    Args:
        geometry: of the convolution.
        weight: float32 [c_out, c_in, kh, kw].
        boost: see :class:`Chosen`.
        relu: see there.
        library: see there.
    """

    def __init__(
        self, geometry: Geometry, weight: Any, boost: Boost, relu: bool = True, library: native.Library | None = None
    ) -> None:
        super().__init__(geometry, boost, relu, library)
        self.weight = checked(weight, "weight", np.float32, geometry.weights)
        if self.library:
            self._taps = taps(self.weight)
            self._scratch = aligned(self.library.function("fbs_single_scratch")(byref(self._shape)), np.uint8)

    @classmethod
    def of(cls, layer: FBSConv2d, image: Pair, relu: bool = True, library: native.Library | None = None) -> FBSSingle:
        """Take over a trained layer for images of the given height and width.

        Raises:
            ValueError: its convolution gates on its own, or has no kernel.
        """
        inner = plain(layer)
        return cls(Geometry.of(inner, image), filters(inner), Boost.of(layer), relu, library)

    def _native(self) -> tuple[str, tuple[tuple[Any, ...], tuple[Any, ...]], Array]:
        return "fbs_single", ((), (address(self._taps),)), self._scratch

    def _products(self, x: Array, won: Array) -> Array:
        made: Array = self.geometry.convolve(torch.from_numpy(x), torch.from_numpy(self.weight)).numpy()
        return made


class Precision(NamedTuple):
    """The precision gate of a hybrid.

    Args:
        bits, low_bits: of the input, and of those the low ones, 0 to 8; from 1 to 8 are left.
        group: channels that share a decision; in a group its winners decide.
        threshold: Delta by group, float32, in units of the output.
        step: worth of a level of the input.
        level: worth of a step of the product.
        pieces: of a channel of the input.
    """

    bits: int
    low_bits: int
    group: int
    threshold: Array
    step: float
    level: float
    pieces: Pieces


class FBSPG(Chosen):
    """High bits of the channels that win, low bits of what is open of them.

    Args:
        geometry: of the convolution.
        weight: levels of the weights, whole numbers [c_out, c_in, kh, kw] of at most 8 magnitude bits.
        precision: see there.
        boost: see :class:`Chosen`.
        relu: see there.
        library: see there.

    Raises:
        ValueError: a number is out of range, or sums could leave 32 bits.
    """

    def __init__(
        self,
        geometry: Geometry,
        weight: Any,
        precision: Precision,
        boost: Boost,
        relu: bool = True,
        library: native.Library | None = None,
    ) -> None:
        super().__init__(geometry, boost, relu, library)
        p, g = precision, geometry
        high_bits = check_bits(p.bits, p.low_bits, p.pieces.wide)
        self.precision, self.weight = p, checked(weight, "weight", np.int16, g.weights)
        self.threshold = checked(p.threshold, "threshold", np.float32, (-(-g.c_out // p.group),))
        bytes_ = p.pieces.weights(self.weight)
        check_sums(bytes_, (2 ** max(high_bits, p.low_bits) - 1) * (1 + p.pieces.wide))
        if self.library:
            self._taps, whole = taps(bytes_), taps(bytes_.astype(np.int32))
            self._sums = np.ascontiguousarray(whole.reshape(-1, *whole.shape[2:]).sum(0, dtype=np.int32))
            size = self.library.function("fbs_pg_scratch")(byref(self._shape), p.pieces.number)
            self._scratch = aligned(size, np.uint8)
            self._split = native.Split(
                *map(address, (self._taps, self._sums, self.threshold)),
                *(p.step, 2.0**p.bits - 1, p.level, p.low_bits, p.group, int(p.pieces.wide), int(p.pieces.sign)),
            )

    @classmethod
    def of(
        cls,
        layer: FBSConv2d,
        image: Pair,
        relu: bool = True,
        library: native.Library | None = None,
        positive: bool = True,
    ) -> FBSPG:
        """Take over a trained layer for images of the given height and width, of which no value is negative, or any.

        Raises:
            ValueError: its convolution has no precision gate, or there is no kernel for its bits.
        """
        gate = cast(torch.nn.Module, layer.inner)
        if not isinstance(gate, PGConv2d):
            raise ValueError(f"no precision gate in FBS around {type(gate).__name__}")
        if not gate.settings.for_kernel:
            raise ValueError(f"no kernel for {gate.settings}")
        weight, step, level = sizes(gate)
        precision = Precision(
            *(gate.settings.bits, gate.settings.low_bits, gate.group),
            gate.threshold.detach().float().contiguous().numpy(),
            *(step, level, Pieces.of(gate.settings, positive)),
        )
        levels = weight.to(torch.int16).contiguous().numpy()
        return cls(Geometry.of(gate.layer, image), levels, precision, Boost.of(layer), relu, library)

    def phases(self, x: Array, won: Array) -> IntegerPhases:
        """Return O_hb, the mask and O in whole numbers, int64 [h', w', c_out], for the channels that won."""
        p, g = self.precision, self.geometry
        whole = np.rint((x / np.float32(p.step)).clip(1 - 2**p.bits, 2**p.bits - 1)).astype(np.int64)
        if not p.pieces.sign:
            whole = whole.clip(0)
        coarse = np.sign(whole) * (np.abs(whole) >> p.low_bits << p.low_bits)
        high, low = (whole_products(g, part, self.weight) for part in (coarse, whole - coarse))
        winners = torch.zeros(g.c_out, dtype=torch.bool)
        winners[won] = True
        mask = torch.zeros_like(high, dtype=torch.bool)
        for i, delta in enumerate(self.threshold):
            of = winners[i * p.group : (i + 1) * p.group]
            sums = high[..., i * p.group : (i + 1) * p.group][..., of].sum(-1)
            limit = float(np.floor(np.float64(delta) * int(of.sum()) / np.float64(np.float32(p.level))))
            mask[..., i * p.group : (i + 1) * p.group] = (sums > min(max(limit, -(2.0**62)), 2.0**62))[..., None] & of
        return IntegerPhases(high, mask, high + mask * low)

    def _native(self) -> tuple[str, tuple[tuple[Any, ...], tuple[Any, ...]], Array]:
        return "fbs_pg", ((byref(self._split),), ()), self._scratch

    def _products(self, x: Array, won: Array) -> Array:
        made: Array = self.phases(x, won).output.numpy() * np.float64(np.float32(self.precision.level))
        return made


def taps(weight: Array) -> Array:
    """Return weights [c_out, c_in, kh, kw] as [kh, kw, c_in, 16 x blocks_out], zero where there is no channel."""
    moved = weight.transpose(2, 3, 1, 0)
    made = aligned((*moved.shape[:3], -(-len(weight) // BLOCK) * BLOCK), weight.dtype)
    made[..., : len(weight)] = moved
    return made
