"""The terms that kernels' times are linear in, shared by kernels that contain a convolution.

A table of a board is a line through readings: time = sum of slope x term, no slope negative
(:mod:`gatesearch.cost.sources.board.table`). Each term counts how often the C code passes one of its loops. All loops
over channels go by blocks of 16, so terms count blocks where one might expect channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gatesearch.gates import BLOCK
from gatesearch.kernels.geometry import output_size

Terms = dict[str, float]


def blocks_left(channels: int, share: float = 1.0) -> float:
    """Return blocks of 16 channels that are left: whole ones, and at least one.

    >>> blocks_left(40), blocks_left(40, 0.1)
    (3, 1.0)
    """
    whole = -(-channels // BLOCK)
    return min(whole, max(1.0, math.floor(whole * share + 0.5)))


def tile_rows(rows: float, tile: int) -> float:
    """Return the rows that tiles of ``tile`` rows compute, as ``tile.h`` cuts them.

    What is left behind whole tiles is done by one smaller tile: of one row, of half a tile, or of a whole one.

    >>> [tile_rows(rows, 4) for rows in (8, 9, 10, 11)]
    [8, 9, 10, 12]
    """
    whole, rest = divmod(rows, tile)
    half = max(tile // 2, 1)
    if not rest:
        last = 0
    elif rest <= 1:
        last = 1
    else:
        last = half if rest <= half else tile
    return whole * tile + last


def conv_macs(shape: Sequence[int]) -> float:
    """Return the multiply-accumulates of a convolution of twelve numbers."""
    height, width = output_size(shape)
    return float(height * width * shape[3] * shape[2] * shape[4] * shape[5])


def conv_terms(shape: Sequence[int], tile: int, inputs: float = 1.0, outputs: float = 1.0) -> Terms:
    """Return the terms of a convolution (``conv_u8.c``, ``conv_f32.c`` and ``image.h``).

    The image is copied first where it has a border or channels that fill no block: then each tap reads whole blocks.
    With fewer than 16 channels and more than one tap, the taps of an output are laid side by side instead
    ("unfolded"), since a block of one channel would be nearly empty. Products are done by tiles of some pixels and one
    block of outputs: a *step* multiplies one block of inputs at one tap.

    Args:
        shape: twelve numbers.
        tile: pixels that the inner loop computes at once.
        inputs, outputs: shares of the blocks that are there.
    """
    h, w, c_in, c_out, kh, kw, _, _, pad_h, pad_w, _, _ = shape
    out_h, out_w = output_size(shape)
    pixels, taps = out_h * out_w, kh * kw
    blocks_in, blocks_out = blocks_left(c_in, inputs), blocks_left(c_out, outputs)
    unfolded = c_in < BLOCK and taps > 1
    steps = float(-(-taps * c_in // BLOCK)) if unfolded else taps * blocks_in
    copied = not unfolded and bool(pad_h or pad_w or c_in % BLOCK)
    border = (h + 2 * pad_h) * (w + 2 * pad_w) * blocks_in
    return {
        "call": 1.0,
        "blocks cleared": border if copied else 0.0,
        "blocks copied": h * w * blocks_in if copied else 0.0,
        "ragged blocks copied": h * w * blocks_in if copied and c_in % BLOCK else 0.0,
        "rows unfolded": pixels * kh if unfolded else 0.0,
        "values unfolded": pixels * taps * c_in if unfolded else 0.0,
        "pixels": float(pixels),
        "steps listed": steps,
        "pairs of blocks": blocks_in * blocks_out,
        "blocks written": pixels * blocks_out,
        "ragged blocks written": pixels * blocks_out if c_out % BLOCK else 0.0,
        "tile rows": tile_rows(pixels, tile) * blocks_out,
        "tile products": tile_rows(pixels, tile) * blocks_out * steps,
        "products of single rows": blocks_out * steps if pixels % tile == 1 else 0.0,
    }


def window_taps(shape: Sequence[int]) -> tuple[float, float]:
    """Return how many taps of all windows lie inside the image, and how many rows of taps do."""
    taps = []
    axes = zip(shape[:2], shape[4:6], shape[6:8], shape[8:10], shape[10:12], output_size(shape), strict=True)
    for size, kernel, stride, pad, dilation, out in axes:
        inside = [sum(0 <= i * stride + k * dilation - pad < size for k in range(kernel)) for i in range(out)]
        taps.append(float(sum(inside)))
    return taps[0] * taps[1], taps[0] * output_size(shape)[1]
