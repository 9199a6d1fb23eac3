"""Kernel of feature boosting and suppression (FBS) and precision gating (PG) in one call.

FBS picks the output channels that win; the others are not computed. PG first computes the winners with the high bits
of the input. An output is open if this first result exceeds a threshold. PG adds the low bits only to open outputs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from ctypes import POINTER, byref, c_float, c_int32, c_void_p
from itertools import product
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch

from gatesearch.gates import BLOCK, KernelCall
from gatesearch.gates.fbs import FBSConv2d
from gatesearch.gates.pg import PGConv2d
from gatesearch.gates.pg.arithmetic import IntegerPhases
from gatesearch.kernels.arrays import Array, address, aligned_zeros, check_array
from gatesearch.kernels.base import Axes, LayerKernel, Listing, Sample, random_normal
from gatesearch.kernels.channel_skipping import (
    ChannelSkippingConv,
    ChannelSkippingLayer,
    NativeCall,
    Winners,
    weights_by_tap,
    zero_inactive,
)
from gatesearch.kernels.fbs import block_shares
from gatesearch.kernels.fbs_predictor import Boost, CBoost, random_boost
from gatesearch.kernels.fbs_single import single_axes
from gatesearch.kernels.geometry import Geometry, Pair, output_size
from gatesearch.kernels.integer_products import check_bits, check_sums, gate_sizes, integer_products, open_thresholds
from gatesearch.kernels.library import ADDRESS, INT, SHAPE, SIZE, SOURCES, Library, Signatures
from gatesearch.kernels.operand_split import OperandSplit
from gatesearch.kernels.work_terms import Terms, conv_macs, conv_terms, count_blocks, open_terms

BITS, LOW_BITS = 8, 4  # for random layers that are timed: bits of an input level, and how many of them are low bits


class CSplit(ctypes.Structure):
    """The C struct ``gs_split`` of kernels.h: the arrays and numbers of a precision gate inside an FBS layer."""

    _fields_ = (
        *((name, c_void_p) for name in ("taps", "sums", "threshold")),
        *((name, c_float) for name in ("step", "top", "level")),
        *((name, c_int32) for name in ("low_bits", "group", "wide", "sign")),
    )


class Precision(NamedTuple):
    """The precision gate of a layer that also has FBS.

    Args:
        bits: number of bits of a level, which is a quantised value of the input.
        low_bits: number of low bits, 0 to 8, which only open outputs use; the other 1 to 8 bits are the high bits.
        group: number of channels that share a decision; the mean of the winners among them decides.
        threshold: threshold of each group (Delta in Zhang et al. 2020), float32, in units of the output.
        step: real value of the input level 1.
        level: real value of the integer product 1.
        operands: how a channel of the input is split into operands.
    """

    bits: int
    low_bits: int
    group: int
    threshold: Array
    step: float
    level: float
    operands: OperandSplit

    def arrays(self) -> dict[str, Array]:
        """Return all fields, and those of the operands, as arrays, to store in a bundle."""
        values = {**self._asdict(), **self.operands._asdict()}
        del values["operands"]
        return {name: np.asarray(value) for name, value in values.items()}

    @classmethod
    def load(cls, arrays: Mapping[str, Array]) -> Precision:
        """Return the precision gate whose fields :meth:`arrays` stored."""
        return cls(
            bits=int(arrays["bits"]),
            low_bits=int(arrays["low_bits"]),
            group=int(arrays["group"]),
            threshold=arrays["threshold"],
            step=float(arrays["step"]),
            level=float(arrays["level"]),
            operands=OperandSplit(bool(arrays["sign"]), bool(arrays["wide"])),
        )


class FBSPG(ChannelSkippingConv):
    """A convolution that computes the winning channels from the high bits, and adds the low bits to their open outputs.

    Args:
        geometry: the geometry of the convolution.
        weight: levels of the weights, whole numbers [c_out, c_in, kh, kw] of at most 8 magnitude bits.
        precision: the precision gate.
        boost: the predictor that picks the winners, and the normalisation.
        relu: whether negative outputs become 0.
        library: the compiled kernels; None loads the best ones for this CPU.

    Raises:
        ValueError: a number is out of range, or sums could exceed 32 bits.
    """

    def __init__(
        self,
        geometry: Geometry,
        weight: Any,
        precision: Precision,
        boost: Boost,
        relu: bool = True,
        library: Library | None = None,
    ) -> None:
        super().__init__(geometry, boost, relu, library)
        p, g = precision, geometry
        high_bits = check_bits(p.bits, p.low_bits, p.operands.wide)
        self.precision, self.weight = p, check_array(weight, "weight", np.int16, g.weights)
        self.threshold = check_array(p.threshold, "threshold", np.float32, (-(-g.c_out // p.group),))
        split_weight = p.operands.weights(self.weight)
        # An operand that is doubled reaches twice the largest level.
        check_sums(split_weight, (2 ** max(high_bits, p.low_bits) - 1) * (1 + p.operands.wide))
        if self.library:
            self._taps, wide_taps = weights_by_tap(split_weight), weights_by_tap(split_weight.astype(np.int32))
            self._sums = np.ascontiguousarray(wide_taps.reshape(-1, *wide_taps.shape[2:]).sum(0, dtype=np.int32))
            size = self.library.function("fbs_pg_scratch")(byref(self._shape), p.operands.number)
            self._scratch = aligned_zeros(size, np.uint8)
            self._split = CSplit(
                taps=address(self._taps),
                sums=address(self._sums),
                threshold=address(self.threshold),
                step=p.step,
                top=2.0**p.bits - 1,
                level=p.level,
                low_bits=p.low_bits,
                group=p.group,
                wide=int(p.operands.wide),
                sign=int(p.operands.sign),
            )

    @classmethod
    def from_module(
        cls,
        layer: FBSConv2d,
        image: Pair,
        relu: bool = True,
        library: Library | None = None,
        positive: bool = True,
    ) -> FBSPG:
        """Return the kernel of a trained layer.

        Args:
            layer: an FBS layer around a precision gate.
            image: height and width of its input.
            relu: whether negative outputs become 0.
            library: the compiled kernels; None loads the best ones for this CPU.
            positive: whether no input is negative.

        Raises:
            ValueError: the layer's convolution has no precision gate, or there is no kernel for the gate's bits.
        """
        gate = cast(torch.nn.Module, layer.inner)
        if not isinstance(gate, PGConv2d):
            raise ValueError(f"no precision gate in FBS around {type(gate).__name__}")
        if not gate.settings.for_kernel:
            raise ValueError(f"no kernel for {gate.settings}")
        weight, step, level = gate_sizes(gate)
        precision = Precision(
            bits=gate.settings.bits,
            low_bits=gate.settings.low_bits,
            group=gate.group,
            threshold=gate.threshold.detach().float().contiguous().numpy(),
            step=step,
            level=level,
            operands=OperandSplit.from_settings(gate.settings, positive),
        )
        levels = weight.to(torch.int16).contiguous().numpy()
        return cls(Geometry.from_layer(gate.layer, image), levels, precision, Boost.from_module(layer), relu, library)

    def phases(self, x: Array, channels: Array) -> IntegerPhases:
        """Return the products of the high bits, the mask of open outputs, and the final products, if ``channels`` win.

        Each is [h', w', c_out]. The products are int64; Zhang et al. 2020 call them O_hb and O.
        """
        p, g = self.precision, self.geometry
        whole = np.rint((x / np.float32(p.step)).clip(1 - 2**p.bits, 2**p.bits - 1)).astype(np.int64)
        if not p.operands.sign:
            whole = whole.clip(0)
        # The high bits are those of the magnitude, so negative levels are rounded towards zero as well.
        coarse = np.sign(whole) * (np.abs(whole) >> p.low_bits << p.low_bits)
        high, low = (integer_products(g, part, self.weight) for part in (coarse, whole - coarse))
        winners = torch.zeros(g.c_out, dtype=torch.bool)
        winners[channels] = True
        mask = torch.zeros_like(high, dtype=torch.bool)
        # A group is open if the mean of its winners exceeds the threshold Delta. This holds if their sum exceeds Delta
        # times their number. Sums are whole numbers, so this limit may be rounded down. It is clamped to fit an int64.
        for i, delta in enumerate(self.threshold):
            group = slice(i * p.group, (i + 1) * p.group)
            members = winners[group]
            sums = high[..., group][..., members].sum(-1)
            limit = float(np.floor(np.float64(delta) * int(members.sum()) / np.float64(np.float32(p.level))))
            mask[..., group] = (sums > min(max(limit, -(2.0**62)), 2.0**62))[..., None] & members
        return IntegerPhases(high, mask, high + mask * low)

    def _native_call(self) -> NativeCall:
        return NativeCall("fbs_pg", (byref(self._split),), (), self._scratch)

    def _products(self, x: Array, channels: Array) -> Array:
        y: Array = self.phases(x, channels).output.numpy() * np.float64(np.float32(self.precision.level))
        return y


class FBSPGLayer(ChannelSkippingLayer):
    """A trained layer with FBS and a precision gate, packed for the kernel."""

    conv: FBSPG

    @classmethod
    def conv_from_module(cls, layer: FBSConv2d, image: Pair, relu: bool, positive: bool) -> FBSPG:
        """Return the kernel of a trained layer."""
        return FBSPG.from_module(layer, image, relu, positive=positive)

    def arrays(self) -> dict[str, Array]:
        """Return the arrays that make up the layer, to store in a bundle."""
        return {**super().arrays(), **self.conv.precision.arrays()}

    @classmethod
    def conv_from_arrays(cls, geometry: Geometry, arrays: Mapping[str, Array], library: Library) -> FBSPG:
        """Return the kernel of a layer from the arrays of a bundle."""
        boost, relu = Boost.load(arrays), bool(arrays["relu"])
        return FBSPG(geometry, arrays["weight"], Precision.load(arrays), boost, relu, library)


class FBSPGKernel(LayerKernel):
    """FBS and precision gating in one call."""

    name = "fbs_pg"
    source = SOURCES / "fbs_pg.c"
    rank = 9
    runner = "fbs_pg"
    case = 5
    shares = ("inputs", "outputs", "open")
    observed = ("open",)
    variants = ("block", "group", "pieces")
    listings = ("gathered",)
    skips = ("channel", "channel-block-16")
    layer = FBSPGLayer
    signatures: ClassVar[Signatures] = {
        "fbs_pg_scratch": (SIZE, (SHAPE, INT)),
        "fbs_pg": (
            INT,
            (
                SHAPE,
                POINTER(CBoost),
                POINTER(CSplit),
                ADDRESS,  # x
                ADDRESS,  # active groups of inputs
                INT,  # number of active groups
                INT,  # channels of a group
                INT,  # whether a ReLU follows
                INT,  # whether to clear the channels that lose
                ADDRESS,  # y
                ADDRESS,  # winners
                ADDRESS,  # scratch
            ),
        ),
    }

    def table_calls(self, listing: Listing) -> Iterator[KernelCall]:
        """Yield calls of four variants for each pair of shares.

        The calls take the open shares 0, 0.3 and 1 in turn. So a table covers all three shares without measuring each
        call three times.
        """
        for (inputs, outputs), block, group in product(listing.pairs, (1, BLOCK), (1, BLOCK)):
            turn = (round(8 * (inputs + outputs)) // 2 + (group > 1)) % 3
            open_share = (0.0, 0.3, 1.0)[turn]
            operands = 1 if (inputs, block) == (1.0, BLOCK) else 2
            variant = (("block", block), ("group", group), ("pieces", operands))
            shares = (("inputs", inputs), ("outputs", outputs), ("open", open_share))
            yield KernelCall(self.name, listing.shape, variant, shares)

    def macs(self, call: KernelCall) -> float:
        """Return the multiply-accumulates of the dense convolution."""
        return conv_macs(call.shape)

    def family(self, call: KernelCall) -> str:
        """Return one name for winning channels and another for winning blocks: different loops gather their weights."""
        return f"fbs_pg of {'channels' if dict(call.variant)['block'] == 1 else 'blocks'}"

    def work(self, call: KernelCall, tile: int) -> Terms:
        """Return the work terms of the high bits, of the choice and gathering of winners, and of the low bits.

        The high bits are a dense convolution from the active input channels to the winning output channels. Each input
        channel counts once for each of its operands.

        A row is a block of 16 outputs at one pixel. The low bits of a row are computed if at least one of its outputs
        is open. The estimate treats decisions as independent. A row with d decisions then has no open output with
        probability (1 - share)^d, so 1 - (1 - share)^d of the rows are computed.
        """
        h, w, c_in, c_out, *rest = call.shape
        block, inputs, outputs = Winners.from_call(call)
        variant, open_share = dict(call.variant), dict(call.remaining).get("open", 1.0)
        operands, group = int(variant["pieces"]), int(variant["group"])
        dense = conv_terms((h, w, int(inputs) * operands, int(outputs), *rest), tile)
        out_h, out_w = output_size(call.shape)
        pixels, blocks_out, steps = float(out_h * out_w), count_blocks(int(outputs)), dense["steps listed"]
        if group == 1:
            decisions: float = min(BLOCK, outputs)
        else:
            # The 16 channels of a winning block lie in one group. 16 single winners, spread evenly, span
            # 16 c_out / outputs channels, which are c_out / outputs groups of 16.
            decisions = 1.0 if block == BLOCK else c_out / outputs
        rows = pixels * (1 - (1 - open_share) ** decisions)
        places = steps * BLOCK  # one weight of each output for a tap and an input channel, padded to blocks
        return {
            **dense,
            "taps gathered": places * outputs,
            "blocks of taps gathered": places * blocks_out,
            "blocks of taps read": places * count_blocks(c_out),
            "inputs gathered": h * w * inputs if inputs < c_in else 0.0,
            "operands split": h * w * inputs * operands,
            "levels rounded": h * w * inputs,
            "blocks pooled": h * w * count_blocks(int(inputs)),
            "winners written": pixels * outputs,
            "channels cleared": pixels * c_out,
            "blocks decided": pixels * blocks_out,
            "blocks decided by groups": pixels * blocks_out if group > 1 else 0.0,
            **open_terms(rows, blocks_out, steps, tile),
            "pairs of blocks predicted": count_blocks(c_in) * count_blocks(c_out),
            "channels scored": float(c_out),
            "scores passed over": 31.0 * c_out if block == 1 else 0.0,
        }

    def axes(self, call: KernelCall, reads_blocks: bool = True) -> Axes:
        """Return the timed shares of channels or of blocks (as the variant says), and the timed shares of open outputs.

        A row of 16 outputs is computed if one of them is open. If each output has its own decision, most rows
        are computed as soon as a tenth of the outputs is open. In this case the smallest timed share is a tenth.
        """
        variant = dict(call.variant)
        c_in, c_out = call.shape[2:4]
        blocks: Axes = {"inputs": block_shares(c_in) if reads_blocks else (1.0,), "outputs": block_shares(c_out)}
        channels = blocks if variant["block"] == BLOCK else single_axes(reads_blocks)
        return {**channels, "open": (0.1 if variant["group"] == 1 else 0.0, 1.0)}

    def sample(self, call: KernelCall, library: Library, generator: np.random.Generator) -> Sample:
        """Return a random layer whose thresholds open the call's share of the winners' outputs."""
        geometry = Geometry.from_shape(call.shape)
        variant = {name: int(value) for name, value in call.variant}
        boost, active = random_boost(call, geometry, variant["block"], generator)
        operands = OperandSplit.from_number(variant["pieces"], wide_first=True)
        x = random_normal(generator, *geometry.image, geometry.c_in)
        x = x if operands.sign else np.abs(x)
        step = float(np.float32(x.max() / (2**BITS - 1)))
        weight = generator.integers(-127, 128, geometry.weights, dtype=np.int16)
        levels = np.rint(zero_inactive(x, active) / np.float32(step)).clip(1 - 2**BITS, 2**BITS - 1)
        high = np.trunc(levels / 2**LOW_BITS) * 2**LOW_BITS
        threshold = open_thresholds(geometry, high, weight, variant["group"], dict(call.remaining).get("open", 1.0))
        precision = Precision(
            bits=BITS,
            low_bits=LOW_BITS,
            group=variant["group"],
            threshold=threshold,
            step=step,
            level=1.0,
            operands=operands,
        )
        return Sample(FBSPGLayer(FBSPG(geometry, weight, precision, boost, library=library)), x, active)
