"""Kernels as a table of costs needs them: of a given shape, with random weights, and so much of the work left."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
import torch

from gatesearch.gates import KernelCall
from gatesearch.gates.matrices import block_edges
from gatesearch.hardware.kernels import native
from gatesearch.hardware.kernels.arrays import BLOCK, Array, aligned
from gatesearch.hardware.kernels.fbs import Boost, FBSConv
from gatesearch.hardware.kernels.geometry import Geometry
from gatesearch.hardware.kernels.parts import Calls, FBSPart, Part, PGPart, RecurrentPart, geometry_of
from gatesearch.hardware.kernels.pg import PGConv
from gatesearch.hardware.kernels.recurrent import HMD, GRUStep, LSTMStep

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


def _fbs(call: KernelCall, library: native.Library, generator: np.random.Generator) -> tuple[Part, Array, Array | None]:
    g, left = _geometry(call), dict(call.left)
    blocks = -(-g.c_out // BLOCK)
    rho, slope, offset, beta = (_normal(generator, g.c_out) for _ in range(4))
    winners = max(1, min(blocks, round(left.get("outputs", 1.0) * g.c_out / BLOCK)))
    boost = Boost(_normal(generator, g.c_out, g.c_in), rho, slope, offset, beta, winners)
    conv = FBSConv(g, _normal(generator, *g.weights), boost, library=library)
    blocks_in = -(-g.c_in // BLOCK)
    there = max(1, min(blocks_in, round(left.get("inputs", 1.0) * g.c_in / BLOCK)))
    live = None if there == blocks_in else np.sort(generator.permutation(blocks_in)[:there]).astype(np.int32)
    return FBSPart(conv), np.abs(_normal(generator, *g.image, g.c_in)), live


def _pg_axes(call: KernelCall, reads_blocks: bool) -> Axes:
    return {"open": (0.0, 1.0)}


def _pg(call: KernelCall, library: native.Library, generator: np.random.Generator) -> tuple[Part, Array, Array | None]:
    g, variant = _geometry(call), dict(call.variant)
    bits, low = BITS[int(variant["bytes"])]
    group = int(variant["group"])
    weight = generator.integers(-127, 128, g.weights, dtype=np.int8)
    x = np.maximum(_normal(generator, *g.image, g.c_in), 0)
    step = float(np.float32(x.max() / (2**bits - 1)))
    levels = np.rint(x / np.float32(step)).clip(0, 2**bits - 1)
    high = g.convolve(
        torch.from_numpy(np.floor(levels / 2**low).astype(np.float64) * 2**low),
        torch.from_numpy(weight.astype(np.float64)),
    ).numpy()
    groups = [high[..., i : i + group].mean(-1) for i in range(0, g.c_out, group)]
    share = dict(call.left).get("open", 1.0)
    # Strictly above the threshold is open: below the smallest, all are.
    threshold = np.array(
        [np.quantile(s, 1 - share) if 0 < share < 1 else (s.max() + 1 if share == 0 else s.min() - 1) for s in groups]
    )
    ones, zeros = np.ones(g.c_out, np.float32), np.zeros(g.c_out, np.float32)
    conv = PGConv(g, weight, bits, low, group, threshold.astype(np.float32), library=library)
    return PGPart(conv, step, ones, zeros, True, threshold.astype(np.float32)), x.astype(np.float32), None


def _cell_axes(call: KernelCall, reads_blocks: bool) -> Axes:
    return {"rich": (0.1, 0.2, 0.35, 0.5)}


def _cell(
    call: KernelCall, library: native.Library, generator: np.random.Generator
) -> tuple[Part, Array, Array | None]:
    steps, inputs, hidden = call.shape
    parts, cell = int(dict(call.variant)["parts"]), {"lstm": LSTMStep, "gru": GRUStep}[call.kernel]
    rich = max(1, round(dict(call.left)["rich"] * hidden))
    made = [
        HMD(*(_normal(generator, cell.gates, *rest) for rest in ((rich, n), (parts, hidden - rich), (n,))))
        for n in (inputs, hidden)
    ]
    biases = [_normal(generator, cell.gates * hidden) for _ in range(2)]
    step = cast(LSTMStep | GRUStep, cell(made[0], made[1], biases[0], biases[1], library))
    assert len(list(block_edges(inputs, parts))) == parts
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
    "pg": _pg_axes,
    "lstm": _cell_axes,
    "gru": _cell_axes,
}
_MAKERS: Mapping[str, Callable[..., tuple[Part, Array, Array | None]]] = {
    "fbs": _fbs,
    "pg": _pg,
    "lstm": _cell,
    "gru": _cell,
}


def _geometry(call: KernelCall) -> Geometry:
    return geometry_of(call.shape)


def _normal(generator: np.random.Generator, *shape: int) -> Array:
    return (generator.standard_normal(shape) / math.sqrt(max(1, shape[-1]))).astype(np.float32)
