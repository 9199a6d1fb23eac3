"""Kernels as a table of costs needs them: of a given shape, with random weights, and so much of the work left."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
import torch

from gatesearch.gates import BLOCK, KernelCall
from gatesearch.gates.matrices import block_edges, low_rank
from gatesearch.kernels import native
from gatesearch.kernels.arrays import Array, aligned
from gatesearch.kernels.channel_skipping import FBSPG, FBSSingle, Live, Precision
from gatesearch.kernels.fbs import FBSConv
from gatesearch.kernels.fbs_predictor import Boost
from gatesearch.kernels.geometry import Geometry
from gatesearch.kernels.native_parts import (
    Calls,
    FBSPart,
    HybridPart,
    Part,
    PGPart,
    RecurrentPart,
    SinglePart,
    geometry_of,
)
from gatesearch.kernels.operand_split import Pieces
from gatesearch.kernels.pg import PGConv
from gatesearch.kernels.recurrent import HMD, Dense, GRUStep, LowRank, LSTMStep, Weights

Axes = dict[str, tuple[float, ...]]
BITS = {1: (8, 4), 2: (16, 8)}  # bits and low bits, by bytes of a level


def axes(call: KernelCall, reads_blocks: bool = True) -> Axes:
    """Return at which shares a kernel of this shape has to be read, by name.

    Args:
        call: whose kernel, shape and variant count.
        reads_blocks: whether its input may come from a layer that leaves blocks out.
    """
    return _AXES[call.kernel](call, reads_blocks)


def calls(call: KernelCall, library: native.Library, seed: int = 0) -> Calls:
    """Return the native calls of a part of that shape with the shares of ``call.left``."""
    part, x, live = _MAKERS[call.kernel](call, library, np.random.default_rng(seed))
    y = aligned(part.shape, np.float32)
    return part.bind(x, y, live)


def _fbs_axes(call: KernelCall, reads_blocks: bool) -> Axes:
    c_in, c_out = call.shape[2:4]
    return {"inputs": _shares(c_in, 2) if reads_blocks else (1.0,), "outputs": _shares(c_out, 2)}


def _shares(channels: int, *parts: int) -> tuple[float, ...]:
    """Return the shares of whole blocks next below a half, a quarter ..., and all."""
    blocks = -(-channels // BLOCK)
    return tuple(dict.fromkeys([*(BLOCK * (blocks // part) / channels for part in parts if blocks >= part), 1.0]))


Sample = tuple[Part, Array, Live | None]


def _fbs(call: KernelCall, library: native.Library, generator: np.random.Generator) -> Sample:
    g = _geometry(call)
    boost, live = _chosen(call, g, BLOCK, generator)
    conv = FBSConv(g, _normal(generator, *g.weights), boost, library=library)
    return FBSPart(conv), np.abs(_normal(generator, *g.image, g.c_in)), live


def _chosen(call: KernelCall, g: Geometry, block: int, generator: np.random.Generator) -> tuple[Boost, Live | None]:
    """Return what decides so that the share of the outputs wins, and which share of the inputs is there."""
    left, groups = dict(call.left), -(-g.c_out // block)
    rho, slope, offset, beta = (_normal(generator, g.c_out) for _ in range(4))
    winners = max(1, min(groups, round(left.get("outputs", 1.0) * g.c_out / block)))
    groups_in = -(-g.c_in // block)
    there = max(1, min(groups_in, round(left.get("inputs", 1.0) * g.c_in / block)))
    picked = np.sort(generator.permutation(groups_in)[:there]).astype(np.int32)
    boost = Boost(_normal(generator, g.c_out, g.c_in), rho, slope, offset, beta, winners, block)
    return boost, None if there == groups_in else Live(picked, block)


def _single_axes(call: KernelCall, reads_blocks: bool) -> Axes:
    return {"inputs": (0.5, 1.0) if reads_blocks else (1.0,), "outputs": (0.5, 1.0)}


def _single(call: KernelCall, library: native.Library, generator: np.random.Generator) -> Sample:
    g = _geometry(call)
    boost, live = _chosen(call, g, 1, generator)
    conv = FBSSingle(g, _normal(generator, *g.weights), boost, library=library)
    return SinglePart(conv), np.abs(_normal(generator, *g.image, g.c_in)), live


def _hybrid_axes(call: KernelCall, reads_blocks: bool) -> Axes:
    chosen = (_fbs_axes if dict(call.variant)["block"] == BLOCK else _single_axes)(call, reads_blocks)
    # Rows of 16 outputs are computed where one of them is open: with single decisions that is most, from a tenth on.
    return {**chosen, "open": (0.1 if dict(call.variant)["group"] == 1 else 0.0, 1.0)}


def _hybrid(call: KernelCall, library: native.Library, generator: np.random.Generator) -> Sample:
    g, variant = _geometry(call), {name: int(value) for name, value in call.variant}
    boost, live = _chosen(call, g, variant["block"], generator)
    pieces = _pieces(variant["pieces"], 2)
    bits, low = BITS[1]
    x = _normal(generator, *g.image, g.c_in)
    x = x if pieces.sign else np.abs(x)
    step = float(np.float32(x.max() / (2**bits - 1)))
    weight = generator.integers(-127, 128, g.weights, dtype=np.int16)
    there = np.zeros_like(x)
    kept = np.arange(g.c_in) if live is None else live.channels(g.c_in)
    there[..., kept] = x[..., kept]
    threshold = _thresholds(g, there, weight, step, bits, low, variant["group"], dict(call.left).get("open", 1.0))
    precision = Precision(bits, low, variant["group"], threshold, step, 1.0, pieces)
    return HybridPart(FBSPG(g, weight, precision, boost, library=library)), x, live


def _pg_axes(call: KernelCall, reads_blocks: bool) -> Axes:
    return {"open": (0.0, 1.0)}


def _pg(call: KernelCall, library: native.Library, generator: np.random.Generator) -> Sample:
    g, variant = _geometry(call), dict(call.variant)
    pieces = _pieces(int(variant.get("pieces", 1)), int(variant["bytes"]))
    # Doubled levels have two bits more, and their low part one.
    bits, low = BITS[1 if pieces.wide else int(variant["bytes"])]
    group = int(variant["group"])
    weight = generator.integers(-63, 64, g.weights, dtype=np.int8)
    x = _normal(generator, *g.image, g.c_in // pieces.number)
    x = x if pieces.sign else np.maximum(x, 0)
    step = float(np.float32(x.max() / (2**bits - 1)))
    levels = pieces.levels(x, step, bits, low)
    high = (levels >> (low + pieces.wide)).astype(np.float64) * 2**low
    threshold = _quantiles(g, high, weight, group, dict(call.left).get("open", 1.0))
    ones, zeros = np.ones(g.c_out, np.float32), np.zeros(g.c_out, np.float32)
    conv = PGConv(g, weight, bits, low, group, threshold, library=library, doubled=pieces.wide)
    conv.pieces = pieces
    return PGPart(conv, step, ones, zeros, True, threshold), x.astype(np.float32), None


def _pieces(number: int, size: int) -> Pieces:
    """Return pieces of so many; two of two bytes each are taken for those of wide weights, which is the same work."""
    return Pieces(sign=number == 4 or (number == 2 and size == 1), wide=number == 4 or (number == 2 and size == 2))


def _thresholds(
    g: Geometry, x: Array, weight: Array, step: float, bits: int, low: int, group: int, share: float
) -> Array:
    levels = np.rint(x / np.float32(step)).clip(1 - 2**bits, 2**bits - 1)
    return _quantiles(g, np.trunc(levels / 2**low) * 2**low, weight, group, share)


def _quantiles(g: Geometry, high: Array, weight: Array, group: int, share: float) -> Array:
    """Return thresholds that so many of each group's outputs exceed."""
    sums = g.convolve(torch.from_numpy(high.astype(np.float64)), torch.from_numpy(weight.astype(np.float64))).numpy()
    groups = [sums[..., i : i + group].mean(-1) for i in range(0, g.c_out, group)]
    # Strictly above the threshold is open: below the smallest, all are.
    most = 8 * float(np.abs(sums).max()) + 1  # of any of the winners' means
    return np.array(
        [np.quantile(s, 1 - share) if 0 < share < 1 else (most if share == 0 else -most) for s in groups], np.float32
    )


def _cell_axes(call: KernelCall, reads_blocks: bool) -> Axes:
    return {"rich": (0.1, 0.2, 0.35, 0.5) if dict(call.variant)["parts"] else (1.0,)}


def _cell(call: KernelCall, library: native.Library, generator: np.random.Generator) -> Sample:
    steps, inputs, hidden = call.shape
    parts, cell = int(dict(call.variant)["parts"]), {"lstm": LSTMStep, "gru": GRUStep}[call.kernel]
    rich = max(1, round(dict(call.left)["rich"] * hidden))

    def weights(columns: int) -> Weights:
        if not parts:
            return Dense(_normal(generator, cell.gates, hidden, columns))
        shapes = ((rich, columns), (parts, hidden - rich), (columns,))
        return HMD(*(_normal(generator, cell.gates, *rest) for rest in shapes))

    made = [weights(columns) for columns in (inputs, hidden)]
    biases = [_normal(generator, cell.gates * hidden) for _ in range(2)]
    step = cast(LSTMStep | GRUStep, cell(made[0], made[1], biases[0], biases[1], library))
    assert not parts or len(list(block_edges(inputs, parts))) == parts
    return RecurrentPart([step], 1, steps), _normal(generator, steps, inputs), None


def _low_axes(call: KernelCall, reads_blocks: bool) -> Axes:
    return {"kept": (0.25, 1 / 3, 0.5)}


def _low(call: KernelCall, library: native.Library, generator: np.random.Generator) -> Sample:
    steps, inputs, hidden = call.shape
    cell, kept = {"lstm_lmf": LSTMStep, "gru_lmf": GRUStep}[call.kernel], dict(call.left)["kept"]
    made = []
    for columns in (inputs, hidden):
        rank = max(1, low_rank(hidden, columns, 1 / kept))
        shapes = ((hidden, rank), (rank, columns))
        made.append(LowRank(*(_normal(generator, cell.gates, *shape) for shape in shapes)))
    biases = [_normal(generator, cell.gates * hidden) for _ in range(2)]
    step = cast(LSTMStep | GRUStep, cell(made[0], made[1], biases[0], biases[1], library))
    return RecurrentPart([step], 1, steps), _normal(generator, steps, inputs), None


def exact(call: KernelCall) -> KernelCall:
    """Return a call with the share that a kernel of whole rows has where a share was asked for.

    >>> exact(KernelCall("lstm", (49, 10, 118), (("parts", 2),), (("rich", 0.1),))).left
    (('rich', 0.1016949152542373),)
    """
    left = dict(call.left)
    if "rich" in left:
        left["rich"] = max(1, round(left["rich"] * call.shape[2])) / call.shape[2]
    return call._replace(left=tuple(left.items()))


_AXES: Mapping[str, Callable[[KernelCall, bool], Axes]] = {
    "fbs": _fbs_axes,
    "fbs_single": _single_axes,
    "fbs_pg": _hybrid_axes,
    "pg": _pg_axes,
    "lstm": _cell_axes,
    "gru": _cell_axes,
    "lstm_lmf": _low_axes,
    "gru_lmf": _low_axes,
}
_MAKERS: Mapping[str, Callable[..., Sample]] = {
    "fbs": _fbs,
    "fbs_single": _single,
    "fbs_pg": _hybrid,
    "pg": _pg,
    "lstm": _cell,
    "gru": _cell,
    "lstm_lmf": _low,
    "gru_lmf": _low,
}


def _geometry(call: KernelCall) -> Geometry:
    return geometry_of(call.shape)


def _normal(generator: np.random.Generator, *shape: int) -> Array:
    return (generator.standard_normal(shape) / math.sqrt(max(1, shape[-1]))).astype(np.float32)
