"""Trained layers with precision gating (PG), and the kernel that runs them.

A layer rounds its input to levels and convolves in two phases. The first phase computes every output with the high bits
of the levels. Outputs that exceed a threshold are open; the second phase adds the low bits to open outputs alone. Last,
the layer applies the batch normalisation behind it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from ctypes import POINTER
from itertools import product
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from gatesearch.gates import BLOCK, KernelCall
from gatesearch.gates.pg import PGConv2d, PGLinear
from gatesearch.kernels.arrays import Array, address, aligned_zeros
from gatesearch.kernels.base import ActiveChannels, Axes, Calls, LayerKernel, Listing, Sample, random_normal
from gatesearch.kernels.geometry import Geometry, output_size
from gatesearch.kernels.integer_products import open_thresholds
from gatesearch.kernels.library import ADDRESS, FLOAT, INT, INT32, SHAPE, SIZE, SOURCES, Library, Signatures, bind_call
from gatesearch.kernels.operand_split import OperandSplit
from gatesearch.kernels.pg_conv import CGate, PGConv
from gatesearch.kernels.work_terms import Terms, conv_macs, conv_terms, count_blocks, open_terms

# For random layers that are timed: by the number of bytes of a level, the number of its bits and of its low bits.
BITS = {1: (8, 4), 2: (16, 8)}


class PGLayer:
    """A trained layer with a precision gate.

    Args:
        conv: the kernel with its weights.
        scale, shift: scale and shift of the batch normalisation behind the convolution, float32 [c_out].
        relu: whether a ReLU follows.
        threshold: threshold of each group (Delta in Zhang et al. 2020), float32.
        shape: the shape of the output; None means the convolution's output shape.
    """

    absorbs_norm: ClassVar[bool] = True
    reads: ClassVar[tuple[int, ...]] = ()
    active: ActiveChannels | None = None

    def __init__(
        self,
        conv: PGConv,
        scale: Array,
        shift: Array,
        relu: bool,
        threshold: Array,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        self.conv, self.scale, self.shift, self.relu = conv, scale, shift, relu
        self.threshold = threshold
        self.shape = shape or (*conv.geometry.output, conv.geometry.c_out)

    @classmethod
    def from_module(
        cls, layer: nn.Module, example: Tensor, norm: nn.BatchNorm2d | None, relu: bool, positive: bool = True
    ) -> Self:
        """Pack a trained layer for this kernel; see :meth:`.NativeLayer.from_module`."""
        gate = cast(PGConv2d | PGLinear, layer)
        linear = isinstance(gate, PGLinear)
        image = (math.prod(example.shape[1:-1]), 1) if linear else (int(example.shape[-2]), int(example.shape[-1]))
        conv = PGConv.from_module(gate, image, positive=positive)
        channels = conv.geometry.c_out
        scale, shift = torch.ones(channels), torch.zeros(channels)
        if norm is not None:
            assert norm.running_mean is not None and norm.running_var is not None
            scale = (norm.running_var + norm.eps).rsqrt() * (1.0 if norm.weight is None else norm.weight.detach())
            shift = (0.0 if norm.bias is None else norm.bias.detach()) - norm.running_mean * scale
        arrays = [part.detach().float().contiguous().numpy() for part in (scale, shift, gate.threshold)]
        shape = (*example.shape[1:-1], channels) if linear else None
        return cls(conv, arrays[0], arrays[1], relu=relu, threshold=arrays[2], shape=shape)

    def arrays(self) -> dict[str, Array]:
        """Return the arrays that make up the layer, to store in a bundle."""
        conv = self.conv
        return {
            "geometry": np.array(conv.geometry.shape, np.int32),
            "weight": conv.weight,
            "threshold": self.threshold,
            "bias": conv.bias[: conv.geometry.c_out],
            "scale": self.scale,
            "shift": self.shift,
            "shape": np.array(self.shape),
            "bits": np.asarray(conv.bits),
            "low_bits": np.asarray(conv.low_bits),
            "group": np.asarray(conv.group),
            "relu": np.asarray(self.relu),
            "sign": np.asarray(conv.operands.sign),
            "wide": np.asarray(conv.operands.wide),
            "level": np.asarray(np.float64(conv.level)),
            "step": np.asarray(np.float64(conv.step)),
        }

    @classmethod
    def load(cls, arrays: Mapping[str, Array], library: Library) -> Self:
        """Rebuild the layer from the arrays of a bundle."""
        operands = OperandSplit(bool(arrays["sign"]), bool(arrays["wide"]))
        conv = PGConv(
            Geometry.from_shape(arrays["geometry"]),
            arrays["weight"],
            bits=int(arrays["bits"]),
            low_bits=int(arrays["low_bits"]),
            group=int(arrays["group"]),
            threshold=arrays["threshold"],
            level=float(arrays["level"]),
            bias=np.ascontiguousarray(arrays["bias"]),
            library=library,
            doubled=operands.wide,
        )
        conv.operands, conv.step = operands, float(arrays["step"])
        return cls(
            conv,
            arrays["scale"],
            arrays["shift"],
            relu=bool(arrays["relu"]),
            threshold=arrays["threshold"],
            shape=tuple(int(size) for size in arrays["shape"]),
        )

    def bind(self, x: Array, y: Array, active: ActiveChannels | None = None, whole: bool = True) -> Calls:
        """Return the native calls of the layer, in order; see :meth:`.NativeLayer.bind`.

        The calls round the input to levels, convolve in two phases, and normalise.
        """
        library = self.conv.library
        assert library is not None
        geometry = self.conv.geometry
        levels = aligned_zeros((*geometry.image, geometry.c_in), self.conv.dtype)
        affine = (
            address(y),
            y.size // geometry.c_out,
            geometry.c_out,
            address(self.scale),
            address(self.shift),
            int(self.relu),
        )
        return [
            self._bind_levels(x, levels, library),
            self.conv.bind(levels, y.reshape(*geometry.output, geometry.c_out)),
            bind_call(library.function("affine_f32"), affine, y, self),
        ]

    def reference(self, x: Array, active: ActiveChannels | None = None) -> Array:
        """Return the output of the layer, computed in torch or numpy."""
        geometry = self.conv.geometry
        channels = geometry.c_in // self.conv.operands.number
        levels = self.conv.levels(x.reshape(*geometry.image, channels))
        output = self.conv.reference(levels).output.numpy() * np.float64(self.conv.level)
        y = (output + self.conv.bias[: geometry.c_out]) * self.scale + self.shift
        return (np.maximum(y, 0) if self.relu else y).astype(np.float32).reshape(self.shape)

    def _bind_levels(self, x: Array, levels: Array, library: Library) -> Any:
        """Bind the call that rounds inputs to levels, and splits levels into operands if there are several."""
        conv, operands = self.conv, self.conv.operands
        top, size = float(2**conv.bits - 1), levels.dtype.itemsize
        if operands.number == 1:
            arguments: tuple[Any, ...] = (address(x), x.size, conv.step, top, size, address(levels))
            return bind_call(library.function("levels_f32"), arguments, x, levels)
        height, width = conv.geometry.image
        arguments = (
            address(x),
            height * width,
            conv.geometry.c_in // operands.number,
            conv.step,
            top,
            conv.low_bits,
            int(operands.wide),
            int(operands.sign),
            size,
            address(levels),
        )
        return bind_call(library.function("spread_f32"), arguments, x, levels)


class PGKernel(LayerKernel):
    """Precision gating, as a kernel that is timed and replaces trained layers.

    :mod:`gatesearch.kernels.operand_split` splits some input channels into several operands. The shape of a call counts
    operands as input channels.
    """

    name = "pg"
    source = SOURCES / "pg.c"
    rank = 3
    runner = "pg"
    case = 3
    shares = ("open",)
    observed = ("open",)
    variants = ("bytes", "group")
    listings = ("gated",)
    layer = PGLayer
    signatures: ClassVar[Signatures] = {
        "pg_rows_size": (SIZE, (SHAPE,)),
        "pg_rows": (None, (SHAPE, ADDRESS, ADDRESS)),
        "pg_scratch": (SIZE, (SHAPE,)),
        "pg": (INT32, (SHAPE, POINTER(CGate), ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS)),
        "pg_dense": (None, (SHAPE, POINTER(CGate), ADDRESS, ADDRESS, ADDRESS)),
        "levels_f32": (None, (ADDRESS, INT, FLOAT, FLOAT, INT, ADDRESS)),
        "spread_f32": (None, (ADDRESS, INT, INT, FLOAT, FLOAT, INT, INT, INT, INT, ADDRESS)),
        "affine_f32": (None, (ADDRESS, INT, INT, ADDRESS, ADDRESS, INT)),
    }

    def table_calls(self, listing: Listing) -> Iterator[KernelCall]:
        """Yield calls for levels of one and two bytes and several sizes of groups, at each share of open outputs."""
        groups = (1, 8, 16, listing.shape[3])
        for size, group, share in product((1, 2), groups, (0.0, *listing.shares)):
            yield KernelCall(self.name, listing.shape, (("bytes", size), ("group", group)), (("open", share),))

    def macs(self, call: KernelCall) -> float:
        """Return the multiply-accumulates of the dense convolution."""
        return conv_macs(call.shape)

    def family(self, call: KernelCall) -> str:
        """Return one name for groups of 1, one for groups of 8, and one for whole blocks: each has its own loops."""
        group = min(int(dict(call.variant)["group"]), call.shape[3])
        inside = f"in groups of {group}" if group in (1, 8) and group < call.shape[3] else "of blocks"
        return f"pg {inside}"

    def work(self, call: KernelCall, tile: int) -> Terms:
        """Return the work terms of the high bits of all outputs, and of the low bits of open outputs.

        The kernel lists open outputs by rows. A row is a block of 16 outputs at one pixel; it is computed if one of its
        outputs is open. The estimate treats decisions as independent. A row with d decisions then has no open output
        with probability (1 - share)^d, so 1 - (1 - share)^d of the rows are computed. With a decision for each output,
        the kernel may compute open outputs one by one instead. A table fits slopes for rows and for single outputs.
        """
        variant, open_share = dict(call.variant), dict(call.remaining).get("open", 1.0)
        h, w, c_in, c_out, *_ = call.shape
        group = min(int(variant["group"]), c_out)
        out_h, out_w = output_size(call.shape)
        pixels, blocks_out = out_h * out_w, count_blocks(c_out)
        dense = conv_terms(call.shape, tile)
        steps = dense["steps listed"]
        decisions = {1: min(BLOCK, c_out), 8: min(2, -(-c_out // 8))}.get(group, 1)  # per row
        rows = pixels * (1 - (1 - open_share) ** decisions)
        single = open_share * pixels * c_out if group == 1 else 0.0
        return {
            **dense,
            "levels split": float(h * w * c_in),
            "second bytes split": float(h * w * c_in) * (int(variant["bytes"]) - 1),
            "outputs": float(pixels * c_out),
            "decisions": pixels * math.ceil(c_out / max(group, 1)),
            **open_terms(rows, blocks_out, steps, tile),
            "single outputs": single,
            "products of single outputs": single * steps,
        }

    def axes(self, call: KernelCall, reads_blocks: bool = True) -> Axes:
        """Return the timed shares of open outputs: 0 and 1."""
        return {"open": (0.0, 1.0)}

    def layer_shape(self, shape: tuple[int, ...], variant: Any) -> tuple[int, ...]:
        """Return the shape with the layer's number of input channels, before channels are split into operands."""
        return (*shape[:2], shape[2] // int(variant.get("pieces", 1)), *shape[3:])

    def sample(self, call: KernelCall, library: Library, generator: np.random.Generator) -> Sample:
        """Return a random layer whose thresholds open the call's share of its outputs."""
        geometry, variant = Geometry.from_shape(call.shape), dict(call.variant)
        size, group = int(variant["bytes"]), int(variant["group"])
        operands = OperandSplit.from_number(int(variant.get("pieces", 1)), wide_first=size > 1)
        # Doubled levels have two more bits, one of them in the low part, so wide weights leave room for 8 bits alone.
        bits, low_bits = BITS[1 if operands.wide else size]
        weight = generator.integers(-63, 64, geometry.weights, dtype=np.int8)
        x = random_normal(generator, *geometry.image, geometry.c_in // operands.number)
        x = x if operands.sign else np.maximum(x, 0)
        step = float(np.float32(x.max() / (2**bits - 1)))
        levels = operands.levels(x, step, bits, low_bits)
        high = (levels >> (low_bits + operands.wide)).astype(np.float64) * 2**low_bits
        threshold = open_thresholds(geometry, high, weight, group, dict(call.remaining).get("open", 1.0))
        conv = PGConv(
            geometry,
            weight,
            bits=bits,
            low_bits=low_bits,
            group=group,
            threshold=threshold,
            library=library,
            doubled=operands.wide,
        )
        conv.operands, conv.step = operands, step
        ones, zeros = np.ones(geometry.c_out, np.float32), np.zeros(geometry.c_out, np.float32)
        return Sample(PGLayer(conv, ones, zeros, relu=True, threshold=threshold), x.astype(np.float32))
