"""Precision gating in whole numbers: the high bits of every output, and the low bits of open outputs.

Source: Zhang et al. 2020, "Precision Gating". In the paper's notation, O_hb is the product of the high bits, O the
final product, and Delta the threshold. Outputs are open if the mean of O_hb over their group exceeds the threshold.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import byref, c_float, c_int32, c_void_p
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from gatesearch.gates import BLOCK, quantise
from gatesearch.gates.pg import BYTE, PGConv2d, PGLinear
from gatesearch.gates.pg.arithmetic import IntegerPhases, integer_limit
from gatesearch.kernels import native
from gatesearch.kernels.arrays import Array, address, aligned_zeros, check_array, match_type, pad_to_blocks
from gatesearch.kernels.conv import pack_u8
from gatesearch.kernels.geometry import Geometry, Pair
from gatesearch.kernels.integer_products import INT32, check_bits, check_sums, gate_sizes, integer_products
from gatesearch.kernels.library import Library, bind_call
from gatesearch.kernels.operand_split import OperandSplit

INT64_MAX = np.iinfo(np.int64).max


class CGate(ctypes.Structure):
    """The C struct ``gs_pg`` of kernels.h: the arrays and numbers of a precision gate."""

    _fields_ = (
        *((name, c_void_p) for name in ("packed", "sums", "rows", "limit", "single", "bias")),
        ("level", c_float),
        *((name, c_int32) for name in ("bytes", "low_bits", "group", "split")),
    )


class PGConv:
    """A convolution in two phases, from levels x [h, w, c_in] to real outputs y [h', w', c_out].

    A level is the integer that stands for a quantised value. It is split as x = 2^low_bits x_high + x_low. Phase one
    computes the product of x_high for every output. Where the mean over a group of outputs exceeds the threshold, phase
    two adds the product of x_low. Levels lie from 0 to 2^bits - 1, as behind a ReLU: uint8 for up to 8 bits, else
    uint16.

    Args:
        geometry: the geometry of the layer.
        weight: int8 levels [c_out, c_in, kh, kw] of at most 7 magnitude bits.
        bits: number of bits of a level of the input (B in the paper), 2 to 16.
        low_bits: number of bits of the second phase, 0 to 8; the first phase has the other 1 to 8 bits. With 0 there is
            no second phase.
        group: number of channels that share a decision: 1, 8, a multiple of 16, or all channels.
        threshold: threshold of each group (Delta in the paper), float32 [groups], in units of the output.
        level: real value of 1 in the integer product.
        bias: float32 [c_out]; None means 0.
        singly: with groups of 1, whether the kernel computes each open output as a dot product of its own. Otherwise it
            computes every block of 16 outputs that has an open output, and discards the closed outputs.
        library: the compiled kernels; None loads the best ones for this CPU.
        doubled: whether some inputs are doubled levels, whose low part has one more bit; see
            :mod:`gatesearch.kernels.operand_split`. Inputs then have two more bits than ``bits``.

    Raises:
        ValueError: a number is out of range, or sums could exceed 32 bits.
    """

    def __init__(
        self,
        geometry: Geometry,
        weight: Any,
        bits: int,
        low_bits: int,
        group: int,
        threshold: Any,
        level: float = 1.0,
        bias: Any = None,
        singly: bool = True,
        library: Library | None = None,
        doubled: bool = False,
    ) -> None:
        high_bits = check_bits(bits, low_bits, doubled)
        group = min(group, geometry.c_out)
        if group not in (1, BLOCK // 2, geometry.c_out) and group % BLOCK:
            raise ValueError(f"no kernel for groups of {group} among {geometry.c_out} channels")
        self.geometry, self.bits, self.low_bits, self.group, self.level = geometry, bits, low_bits, group, level
        self.step = float(quantise.level(torch.tensor(1.0), bits))
        self.dtype = np.uint8 if bits + 2 * doubled <= BYTE else np.uint16
        self.split = low_bits + doubled
        self.weight = check_array(weight, "weight", np.int8, geometry.weights)
        check_sums(self.weight, (2 ** max(high_bits, low_bits) - 1) * (1 + doubled))
        # Sums are whole numbers, so each threshold becomes the largest sum that does not open a group.
        delta = torch.from_numpy(check_array(threshold, "threshold", np.float32, (-(-geometry.c_out // group),)).copy())
        self.limit = integer_limit(delta, torch.tensor(level), group, geometry.c_out)
        if not low_bits:
            self.limit = torch.full_like(self.limit, INT64_MAX)  # no sum exceeds it
        self.bias = pad_to_blocks(bias, "bias", np.float32, geometry.c_out, 0)
        self.library = library or native.load()
        if self.library:
            self._prepare(self.library, singly)

    @classmethod
    def from_module(
        cls,
        layer: PGConv2d | PGLinear,
        image: Pair,
        singly: bool = True,
        library: Library | None = None,
        positive: bool = True,
    ) -> PGConv:
        """Return the kernel of a trained layer; :meth:`levels` converts real inputs to the kernel's input.

        Args:
            layer: a convolution, or a linear layer, which is a 1 x 1 convolution.
            image: height and width of a convolution's input; for a linear layer, the number of positions, and 1.
            singly: see :class:`PGConv`.
            library: the compiled kernels; None loads the best ones for this CPU.
            positive: whether no input is negative.

        Raises:
            ValueError: no kernel supports the gate's numbers of bits; weights have at most 8 magnitude bits.
        """
        settings = layer.settings
        if settings.weight_bits > BYTE:
            raise ValueError(f"weight_bits: {settings.weight_bits} has no kernel; nearest: 8")
        weight, step, product_step = gate_sizes(layer)
        operands, inner = OperandSplit.from_settings(settings, positive), layer.layer
        if isinstance(inner, nn.Conv2d):
            geometry = Geometry.from_layer(inner, image)
        else:
            c_out, c_in = inner.weight.shape
            geometry = Geometry(image, c_in, c_out)
        conv = cls(
            replace(geometry, c_in=operands.number * geometry.c_in),
            operands.weights(weight.reshape(geometry.weights).numpy()),
            bits=settings.bits,
            low_bits=settings.low_bits,
            group=layer.group,
            threshold=layer.threshold.detach().float().contiguous(),
            level=product_step,
            bias=None if inner.bias is None else inner.bias.detach().float(),
            singly=singly,
            library=library,
            doubled=operands.wide,
        )
        conv.step, conv.operands = step, operands
        return conv

    step: float  # real value of a level of the input; the default fits inputs from 0 to 1
    operands: OperandSplit = OperandSplit()

    def levels(self, x: Any) -> Any:
        """Return the levels of real inputs [h, w, c_in]; channels that are split have levels for each operand."""
        real = x.detach().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)
        return match_type(x, self.operands.levels(real, self.step, self.bits, self.low_bits))

    def __call__(self, x: Any) -> Any:
        """Return the convolution of levels [h, w, c_in], float32 [h', w', c_out]."""
        image = check_array(x, "x", self.dtype, (*self.geometry.image, self.geometry.c_in))
        y = np.empty((*self.geometry.output, self.geometry.c_out), np.float32)
        self.bind(image, y)()
        return match_type(x, y)

    def phases(self, x: Any) -> tuple[IntegerPhases, int]:
        """Return O_hb, the mask of open outputs, O (whole numbers [h', w', c_out]), and the number of open outputs."""
        g = self.geometry
        image = check_array(x, "x", self.dtype, (*g.image, g.c_in))
        if not self.library:
            phases = self.reference(image)
            return phases, int(phases.mask.sum())
        y, high, low = (np.empty((*g.output, g.c_out), kind) for kind in (np.float32, np.int32, np.int32))
        outputs = (address(array) for array in (y, high, low))
        count = self.library.function("pg")(
            byref(self._shape), byref(self._pg), address(image), *outputs, address(self._scratch)
        )
        wide = torch.from_numpy(high).long() << self.low_bits
        mask = _mask(wide, self.limit, self.group)
        return IntegerPhases(wide, mask, wide + torch.from_numpy(low)), int(count)

    def bind(self, x: Array, y: Array, dense: bool = False) -> Callable[[], None]:
        """Return a function that runs the kernel on arrays at fixed addresses.

        Args:
            x: levels [h, w, c_in].
            y: float32 [h', w', c_out].
            dense: whether to compute all bits of every output, without decisions, for comparison.
        """
        g = self.geometry
        check_array(x, "x", self.dtype, (*g.image, g.c_in))
        check_array(y, "y", np.float32, (*g.output, g.c_out))
        if not self.library:
            return lambda: self._by_reference(x, y, dense)
        name, extra = ("pg_dense", ()) if dense else ("pg", (None, None))
        arguments = (byref(self._shape), byref(self._pg), address(x), address(y), *extra, address(self._scratch))
        return bind_call(self.library.function(name), arguments, x, y, self)

    def reference(self, x: Array, dense: bool = False) -> IntegerPhases:
        """Return O_hb, the mask and O, computed in torch with whole numbers, int64 [h', w', c_out]."""
        high = integer_products(self.geometry, x >> self.split, self.weight) << self.low_bits
        low = integer_products(self.geometry, x & ((1 << self.split) - 1), self.weight)
        mask = torch.ones_like(high, dtype=torch.bool) if dense else _mask(high, self.limit, self.group)
        return IntegerPhases(high, mask, high + mask * low)

    def _prepare(self, library: Library, singly: bool) -> None:
        """Pack the weights and limits for the C kernel, and fill the struct that it reads."""
        g = self.geometry
        self._shape = g.c
        self._packed, self._sums = pack_u8(library, g, self.weight)
        self._rows = aligned_zeros(library.function("pg_rows_size")(byref(self._shape)), np.int8)
        library.function("pg_rows")(byref(self._shape), address(self.weight), address(self._rows))
        # The kernel sums high parts without their factor 2^low_bits. For whole numbers, 2^low_bits sum > limit is the
        # same as sum > floor(limit / 2^low_bits).
        self._limit = (self.limit >> self.low_bits).numpy()
        single = self._limit.clip(INT32.min, INT32.max).astype(np.int32) if self.group == 1 else None
        self._single = pad_to_blocks(single, "limit", np.int32, g.c_out, INT32.max)
        self._single[g.c_out :] = INT32.max
        self._scratch = aligned_zeros(library.function("pg_scratch")(byref(self._shape)), np.uint8)
        self._pg = CGate(
            packed=address(self._packed),
            sums=address(self._sums),
            rows=address(self._rows) if singly else None,
            limit=address(self._limit),
            single=address(self._single),
            bias=address(self.bias),
            level=self.level,
            bytes=np.dtype(self.dtype).itemsize,
            low_bits=self.low_bits,
            group=self.group,
            split=self.split,
        )

    def _by_reference(self, x: Array, y: Array, dense: bool) -> None:
        output = self.reference(x, dense).output.numpy()
        y[...] = output * np.float64(self.level) + self.bias[: self.geometry.c_out]


def _mask(high: torch.Tensor, limit: torch.Tensor, group: int) -> torch.Tensor:
    channels = high.shape[-1]
    sums = torch.nn.functional.pad(high, (0, -channels % group)).unflatten(-1, (-1, group)).sum(-1)
    return (sums > limit).repeat_interleave(group, -1)[..., :channels]
