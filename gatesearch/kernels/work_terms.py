"""Work terms: counts of loop iterations in a kernel's C code, from which a model estimates the kernel's time.

A board's table models the time of a call as the sum of slope x term, with no negative slope
(:mod:`gatesearch.cost.sources.board.table`). Each term counts the iterations of one loop of the C code. Loops over
channels go by blocks of 16, so most terms count blocks rather than channels. Several kernels share the terms of a
convolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gatesearch.gates import BLOCK
from gatesearch.kernels.geometry import output_size

Terms = dict[str, float]
STEPS_AT_ONCE = 8  # steps of a tile whose inputs tile_dsp.h widens at once


def count_blocks(channels: int, share: float = 1.0) -> float:
    """Return the number of blocks of 16 in a share of the channels, rounded to whole blocks, at least one.

    >>> count_blocks(40), count_blocks(40, 0.1)
    (3, 1.0)
    """
    whole = -(-channels // BLOCK)
    return min(whole, max(1.0, math.floor(whole * share + 0.5)))


def tile_rows(rows: float, tile: int) -> float:
    """Return how many rows the tiles of ``tile.h`` compute to cover ``rows`` rows.

    Whole tiles come first. The last tile covers the remaining rows; it has one row, half a tile's rows (rounded
    up) or a whole tile's rows, and computes all of them.

    >>> [tile_rows(rows, 4) for rows in (8, 9, 10, 11)]
    [8, 9, 10, 12]
    """
    whole, rest = divmod(rows, tile)
    half = (tile + 1) // 2
    if not rest:
        last = 0
    elif rest <= 1:
        last = 1
    else:
        last = half if rest <= half else tile
    return whole * tile + last


def conv_macs(shape: Sequence[int]) -> float:
    """Return the multiply-accumulates of a dense convolution, from the twelve numbers of its shape."""
    height, width = output_size(shape)
    return float(height * width * shape[3] * shape[2] * shape[4] * shape[5])


def is_unfolded(shape: Sequence[int]) -> bool:
    """Return whether a convolution's image is unfolded: the taps of each output are then laid side by side.

    With fewer than 16 channels and more than one tap, a block of channels would be nearly empty.
    """
    return shape[2] < BLOCK and shape[4] * shape[5] > 1


def patch_steps(shape: Sequence[int], inputs: float = 1.0) -> float:
    """Return the steps of a patch of a convolution; a step is one block of inputs at one tap.

    Args:
        shape: as in :func:`conv_terms`.
        inputs: share of the input blocks that are active.

    >>> patch_steps((8, 8, 40, 8, 3, 3, 1, 1, 1, 1, 1, 1)), patch_steps((8, 8, 3, 8, 3, 3, 1, 1, 1, 1, 1, 1))
    (27.0, 2.0)
    """
    taps, c_in = shape[4] * shape[5], shape[2]
    return float(-(-taps * c_in // BLOCK) if is_unfolded(shape) else taps * count_blocks(c_in, inputs))


def conv_terms(shape: Sequence[int], tile: int, inputs: float = 1.0, outputs: float = 1.0) -> Terms:
    """Return the work terms of a convolution (``conv_u8.c``, ``conv_f32.c`` and ``image.h``).

    An image with padding, or with channels that do not fill the last block, is copied first, so that every tap reads
    whole blocks; or it is unfolded (:func:`is_unfolded`). A tile computes a few pixels of one block of outputs. A step
    of a tile multiplies one block of inputs at one tap.

    Args:
        shape: the twelve numbers that ``Geometry.from_shape`` reads.
        tile: pixels that the inner loop computes at once.
        inputs, outputs: shares of the input blocks and of the output blocks that are active.
    """
    h, w, c_in, c_out, kh, kw, _, _, pad_h, pad_w, _, dilation_w = shape
    out_h, out_w = output_size(shape)
    pixels, taps = out_h * out_w, kh * kw
    blocks_in, blocks_out = count_blocks(c_in, inputs), count_blocks(c_out, outputs)
    unfolded, steps = is_unfolded(shape), patch_steps(shape, inputs)
    runs, run = (kh, kw * c_in) if dilation_w == 1 else (taps, c_in)
    copied = not unfolded and bool(pad_h or pad_w or c_in % BLOCK)
    border = (h + 2 * pad_h) * (w + 2 * pad_w) * blocks_in
    tiles, rows = -(-pixels // tile), tile_rows(pixels, tile)
    return {
        "call": 1.0,
        "blocks cleared": border if copied else 0.0,
        "blocks copied": h * w * blocks_in if copied else 0.0,
        "ragged blocks copied": h * w * blocks_in if copied and c_in % BLOCK else 0.0,
        "rows padded": h + 2.0 * pad_h if unfolded else 0.0,
        "patches": float(pixels) if unfolded else 0.0,
        "runs unfolded": float(pixels * runs) if unfolded else 0.0,
        "blocks unfolded": float(pixels * runs * -(-run // BLOCK)) if unfolded else 0.0,
        "pixels": float(pixels),
        "steps listed": steps,
        "pairs of blocks": blocks_in * blocks_out,
        "blocks written": pixels * blocks_out,
        "ragged blocks written": pixels * blocks_out if c_out % BLOCK else 0.0,
        "tile rows": rows * blocks_out,
        "tile products": rows * blocks_out * steps,
        "products of single rows": blocks_out * steps if pixels % tile == 1 else 0.0,
        "blocks of tiles": float(tiles * blocks_out),
        "turns of tiles": tiles * blocks_out * math.ceil(steps / STEPS_AT_ONCE),
        "weights of tiles": tiles * blocks_out * steps,
    }


def pair_terms(shape: Sequence[int], tile: int, inputs: float = 1.0, outputs: float = 1.0) -> Terms:
    """Return the work terms of the loop of ``conv_dsp.h``, which goes over tiles and pairs of output channels.

    The inputs of a tile are widened once for all channels. A part is a run of steps whose weights lie side by side.
    If some input blocks are left out, each tap is a part.

    Args:
        shape, tile, inputs, outputs: as in :func:`conv_terms`.
    """
    _, _, c_in, c_out, kh, kw, *_ = shape
    out_h, out_w = output_size(shape)
    pixels, steps = out_h * out_w, patch_steps(shape, inputs)
    pairs = -(-min(c_out, count_blocks(c_out, outputs) * BLOCK) // 2)
    parts = kh * kw if count_blocks(c_in, inputs) < count_blocks(c_in) else 1
    tiles, rows = -(-pixels // tile), tile_rows(pixels, tile)
    return {
        "pairs of channels": float(pairs),
        "tiles": float(tiles),
        "steps of tiles": tiles * steps,
        "steps of rows": rows * steps,
        "pairs of tiles": float(tiles * pairs),
        "pairs of rows": rows * pairs,
        "parts of tiles": float(tiles * parts),
        "parts of pairs": float(tiles * pairs * parts),
        "steps of pairs": tiles * pairs * steps,
        "products of pairs": rows * pairs * steps,
    }


def byte_conv_terms(shape: Sequence[int], inputs: float = 1.0, outputs: float = 1.0) -> Terms:
    """Return further work terms of a convolution to bytes (``conv_u8.c``, ``conv_mve.h`` and ``image.h``).

    The border of a padded image is filled block by block. The products of up to four steps are added to the sums of a
    block at a pixel at once.
    """
    h, w, c_in, c_out, _, _, _, _, pad_h, pad_w, _, _ = shape
    out_h, out_w = output_size(shape)
    blocks_in, blocks_out = count_blocks(c_in, inputs), count_blocks(c_out, outputs)
    unfolded, ragged, steps = is_unfolded(shape), bool(c_in % BLOCK), patch_steps(shape, inputs)
    padded, sums = (h + 2 * pad_h) * (w + 2 * pad_w), out_h * out_w * blocks_out
    return {
        "border blocks": 0.0 if unfolded else (padded - h * w) * blocks_in,
        "ragged pixels copied": float(h * w) if ragged and not unfolded else 0.0,
        "values padded": float(padded * c_in) if unfolded else 0.0,
        "blocks of outputs": blocks_out,
        "fours of steps": sums * math.ceil(steps / 4),
        "sums of several fours": sums if steps > 4 else 0.0,
        "ragged ends written": float(out_h * out_w) if c_out % BLOCK else 0.0,
    }


def open_terms(rows: float, blocks_out: float, steps: float, tile: int) -> Terms:
    """Return the work terms of phase two of precision gating, which adds the low bits to open outputs.

    Args:
        rows: pixels with an open output, for each block of outputs.
        blocks_out: blocks of outputs.
        steps: steps of a patch.
        tile: pixels that the inner loop computes at once.
    """
    tiles = math.ceil(rows / tile) * blocks_out
    return {
        "open rows": rows * blocks_out,
        "open products": rows * blocks_out * steps,
        "open steps": blocks_out * steps if rows else 0.0,
        "open tiles": tiles,
        "steps of open tiles": tiles * steps,
        "turns of open tiles": tiles * math.ceil(steps / STEPS_AT_ONCE),
    }


def taps_inside(shape: Sequence[int], axis: int) -> list[tuple[bool, ...]]:
    """Return for each output along an axis (0: height, 1: width) which taps of its window lie inside the image."""
    size, kernel, stride, pad, dilation = (shape[place + axis] for place in (0, 4, 6, 8, 10))
    starts = (output * stride - pad for output in range(output_size(shape)[axis]))
    return [tuple(0 <= start + tap * dilation < size for tap in range(kernel)) for start in starts]


def window_taps(shape: Sequence[int]) -> tuple[float, float]:
    """Return the number of taps, and of rows of taps, that lie inside the image, summed over all windows.

    A row of taps counts once for each window. Height and width are independent, so the number of taps inside is the
    number of rows inside times the number of columns inside.
    """
    rows, columns = (float(sum(map(sum, taps_inside(shape, axis)))) for axis in (0, 1))
    return rows * columns, rows * output_size(shape)[1]
