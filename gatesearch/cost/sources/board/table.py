"""A core's table: what calls of kernels take on it, and from that what any call takes.

How long a kernel runs is linear in a few numbers that its shape and the shares left decide: products of blocks, pixels,
values copied. A table holds readings; the line through them, with no negative slope, answers for other shapes. What it
says of shapes that it has not seen was held against their own readings, and the table says how far off it was.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.optimize import nnls

from gatesearch.cost.sources.board.calls import outputs
from gatesearch.errors import UserError, unknown
from gatesearch.gates import BLOCK, KernelCall

SCHEMA_VERSION = 1
UNITS = ("instructions", "cycles", "ns")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Reading(_Strict):
    """What one call takes, in the table's unit; ``open`` is the share that a precision gate had open."""

    kernel: str
    shape: tuple[int, ...]
    variant: dict[str, int] = {}
    left: dict[str, float] = {}
    taken: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    middle: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None

    @property
    def call(self) -> KernelCall:
        """The call."""
        return KernelCall(self.kernel, self.shape, tuple(sorted(self.variant.items())), tuple(self.left.items()))


class Error(_Strict):
    """How far a table is off at shapes that it was not made of, as shares of their readings."""

    calls: int
    median: float
    largest: float


class BoardTable(_Strict):
    """Readings of one core.

    Args:
        name: of the table.
        core: in words.
        unit: of the readings.
        provenance: ``"simulated"`` where an emulator counted instructions, ``"measured"`` where a clock was read.
        source: how, in a sentence; what the figures are not.
        tools: versions of compiler and emulator, the flags, and a digest of the kernels' sources.
        tile: outputs that the kernels' inner loop computes at once.
        readings: what the table is made of.
        others: readings of further shapes, which it is held against.
        held_out: by kernel, how far off it is there.
    """

    schema_version: Literal[1]
    name: str
    core: str
    unit: Literal["instructions", "cycles", "ns"]
    provenance: Literal["simulated", "measured"]
    source: Annotated[str, Field(min_length=1)]
    tools: dict[str, str]
    tile: int
    readings: tuple[Reading, ...]
    others: tuple[Reading, ...] = ()
    held_out: dict[str, Error] = {}

    @property
    def told(self) -> str:
        """The table in a line: readings, how they are known, how far off it is at other shapes."""
        found = self.held_out.items()
        off = ", ".join(f"{kernel} {each.median:.1%} (at most {each.largest:.1%})" for kernel, each in found)
        kept = f"; median error at shapes held out: {off}" if off else ""
        return f"table {self.name}, {len(self.readings)} readings, {self.provenance}: {self.source}{kept}"

    @cached_property
    def costs(self) -> BoardCosts:
        """What calls take, from all readings."""
        return BoardCosts.through(self)

    def checked(self) -> BoardTable:
        """Return the table with its error at the held-out shapes worked out."""
        return self.model_copy(update={"held_out": errors(self.costs, self.others)})

    def to_json(self) -> str:
        """Return the table as JSON, a reading a line."""
        told = self.model_dump(exclude_none=True)
        rows = {key: told.pop(key) for key in ("readings", "others")}
        head = json.dumps(told, indent=1)[:-2]
        listed = [
            f' "{key}": [\n  ' + ",\n  ".join(json.dumps(row) for row in found) + "\n ]" for key, found in rows.items()
        ]
        return head + ",\n" + ",\n".join(listed) + "\n}\n"


@dataclass(frozen=True)
class BoardCosts:
    """Answers for calls of any shape; a :class:`gatesearch.cost.kernel_costs.KernelCosts`.

    Args:
        provenance: of the readings.
        tile: outputs that the inner loop computes at once.
        slopes: by kernel and variant, of the numbers of :data:`WORK`.
    """

    provenance: Literal["simulated", "measured"]
    tile: int
    slopes: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @classmethod
    def through(cls, table: BoardTable) -> BoardCosts:
        """Fit each kernel's line to the readings, all errors being shares of them."""
        found: dict[str, list[tuple[Sequence[float], float]]] = {}
        for reading in table.readings:
            if reading.kernel in WORK and reading.taken > 0:
                work = WORK[reading.kernel](reading.call, table.tile)
                found.setdefault(family(reading.call), []).append((work, reading.taken))
        slopes = {}
        for name, rows in found.items():
            matrix, taken = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
            scale = np.maximum(matrix.max(0), 1e-12)
            slope, _ = nnls(matrix / scale / taken[:, None], np.ones(len(taken)), maxiter=50 * matrix.shape[1])
            slopes[name] = tuple((slope / scale).tolist())
        return cls(table.provenance, table.tile, slopes)

    def reading(self, call: KernelCall) -> float | None:
        """Return what a call takes in the table's unit; None where the table has no such kernel."""
        slopes = self.slopes.get(family(call))
        if slopes is None:
            return None
        return math.fsum(s * w for s, w in zip(slopes, WORK[call.kernel](call, self.tile), strict=True))


def errors(costs: BoardCosts, others: Sequence[Reading]) -> dict[str, Error]:
    """Return by kernel how far costs are off at other readings."""
    off: dict[str, list[float]] = {}
    for reading in others:
        said = costs.reading(reading.call)
        if said is not None and reading.taken:
            off.setdefault(reading.kernel, []).append(abs(said / reading.taken - 1))
    return {
        kernel: Error(calls=len(each), median=round(median(each), 4), largest=round(max(each), 4))
        for kernel, each in off.items()
    }


def family(call: KernelCall) -> str:
    """Return the calls that share a line: a kernel, and with precision gates where decisions are taken."""
    if call.kernel == "fbs_pg":
        variant = dict(call.variant)
        return f"fbs_pg of {'channels' if variant['block'] == 1 else 'blocks'}"
    if call.kernel != "pg":
        return call.kernel
    group = min(dict(call.variant)["group"], call.shape[3])
    inside = f"in groups of {group}" if group in (1, 8) and group < call.shape[3] else "of blocks"
    return f"pg {inside}"


def _blocks(channels: int, share: float = 1.0) -> float:
    """Return blocks of 16 channels that are left: whole ones, and at least one."""
    whole = -(-channels // BLOCK)
    return min(whole, max(1.0, math.floor(whole * share + 0.5)))


def _padded(rows: float, tile: int) -> float:
    """Return the rows that tiles compute: a last one may be larger than what is left."""
    whole, rest = divmod(rows, tile)
    smaller = max(tile // 2, 1)
    return whole * tile + (0 if not rest else 1 if rest <= 1 else smaller if rest <= smaller else tile)


def _conv(call: KernelCall, tile: int) -> tuple[float, ...]:
    """Work of a convolution: a constant, values copied, pixels, and the products of blocks that tiles are made of."""
    left = dict(call.left)
    h, w, c_in, c_out, kh, kw, *_ = call.shape
    _, _, _, _, _, _, _, _, pad_h, pad_w, _, _ = call.shape
    out_h, out_w = outputs(call.shape)
    pixels, taps = out_h * out_w, kh * kw
    b_in, b_out = _blocks(c_in, left.get("inputs", 1.0)), _blocks(c_out, left.get("outputs", 1.0))
    unfolded = c_in < BLOCK and taps > 1
    steps = float(-(-taps * c_in // BLOCK)) if unfolded else taps * b_in
    copied = 0.0
    if not unfolded and (pad_h or pad_w or c_in % BLOCK):
        copied = (h + 2 * pad_h) * (w + 2 * pad_w) * b_in
    return (
        1.0,
        copied,
        h * w * b_in if copied else 0.0,
        h * w * b_in if copied and c_in % BLOCK else 0.0,
        pixels * kh if unfolded else 0.0,
        pixels * taps * c_in if unfolded else 0.0,
        float(pixels),
        steps,
        b_in * b_out,
        pixels * b_out,
        pixels * b_out if c_out % BLOCK else 0.0,
        _padded(pixels, tile) * b_out,
        _padded(pixels, tile) * b_out * steps,
        b_out * steps if pixels % tile == 1 else 0.0,
    )


def _fbs(call: KernelCall, tile: int) -> tuple[float, ...]:
    """Beside the convolution: the mean of the input, the layer that predicts, the choice of winners."""
    left = dict(call.left)
    h, w, c_in, c_out, *_ = call.shape
    b_in, b_out = _blocks(c_in, left.get("inputs", 1.0)), _blocks(c_out)
    return (*_conv(call, tile), h * w * b_in, b_in * b_out, b_out, b_out * b_out)


def _pg(call: KernelCall, tile: int) -> tuple[float, ...]:
    """The high bits of all outputs, and the low bits of what is open: lists of pixels, or outputs one by one."""
    variant, open_share = dict(call.variant), dict(call.left).get("open", 1.0)
    h, w, c_in, c_out, *_ = call.shape
    group = min(int(variant["group"]), c_out)
    out_h, out_w = outputs(call.shape)
    pixels, b_out = out_h * out_w, _blocks(c_out)
    dense = _conv(KernelCall("conv", call.shape), tile)
    steps = dense[7]
    in_block = {1: min(BLOCK, c_out), 8: min(2, -(-c_out // 8))}.get(group, 1) if group < BLOCK else 1
    rows = pixels * (1 - (1 - open_share) ** in_block)  # of a block, of which something is open
    single = open_share * pixels * c_out if group == 1 else 0.0
    return (
        *dense,
        float(h * w * c_in),
        float(h * w * c_in) * (int(variant["bytes"]) - 1),
        float(pixels * c_out),
        pixels * math.ceil(c_out / max(group, 1)),
        rows * b_out,
        rows * b_out * steps,
        b_out * steps if rows else 0.0,
        single,
        single * steps,
    )


def _step(call: KernelCall, tile: int) -> tuple[float, ...]:
    """Steps of a cell: blocks of both matrices, rank-1 rows added, and the gates' own arithmetic."""
    steps, columns, height = call.shape
    gates = 4 if call.kernel == "lstm" else 3
    rich = round(height * dict(call.left).get("rich", 1.0))
    parts = int(dict(call.variant).get("parts", 1)) if rich < height else 0
    rows = _blocks(gates * (rich + parts))
    products = rows * (_blocks(columns) + _blocks(height))
    poor = 2.0 * gates * parts * (height - rich)
    odd = (columns if columns % BLOCK else 0) + (height if height % BLOCK else 0)
    each = (1.0, products, rows, poor, 2.0 * gates * parts, 2.0 * gates * rich if parts else 0.0, float(height), odd)
    return tuple(steps * one for one in each)


def _gate(call: KernelCall, tile: int) -> tuple[float, ...]:
    h, w, channels = call.shape
    return (1.0, h * w * _blocks(channels), _blocks(channels), float(h * w * (channels % BLOCK)))


def _inside(call: KernelCall) -> tuple[float, float]:
    """Return the taps over all places of a window that lie inside the image, and the rows of a window that do."""
    h, w, _, _, kh, kw, *rest = call.shape
    counts = []
    for size, kernel, stride, pad, dilation, out in zip(
        (h, w), (kh, kw), rest[:2], rest[2:4], rest[4:6], outputs(call.shape), strict=True
    ):
        taps = [sum(0 <= i * stride + k * dilation - pad < size for k in range(kernel)) for i in range(out)]
        counts.append(float(sum(taps)))
    return counts[0] * counts[1], counts[0] * outputs(call.shape)[1]


def _depthwise(call: KernelCall, tile: int) -> tuple[float, ...]:
    """Work by pixel, block and tap that lies inside; channels that fill no block are worked on one by one."""
    _, _, _, channels, kh, kw, *_ = call.shape
    out_h, out_w = outputs(call.shape)
    pixels, rest = float(out_h * out_w), channels % BLOCK
    inside, rows = _inside(call)
    full, partly = channels // BLOCK, 1.0 if rest else 0.0
    return (
        *(1.0, pixels, pixels * full, inside * full, rows * (full + partly)),
        *(pixels * kh * (full + partly), rows * kw * (full + partly)),
        *(pixels * partly, inside * partly, pixels * rest, inside * rest, inside * (rest // 4), inside * (rest % 4)),
    )


def _pool(call: KernelCall, tile: int) -> tuple[float, ...]:
    _, _, channels, *_ = call.shape
    out_h, out_w = outputs(call.shape)
    pixels, rest, full = float(out_h * out_w), channels % BLOCK, channels // BLOCK
    inside, rows = _inside(call)
    partly = 1.0 if rest else 0.0
    each = (1.0, pixels, pixels * full, inside * full, rows * (full + partly))
    return (*each, pixels * partly, inside * partly, pixels * rest, inside * (rest // 4), inside * (rest % 4))


def _sum(call: KernelCall, tile: int) -> tuple[float, ...]:
    return (1.0, float(call.shape[0]))


def _low_rank(call: KernelCall, tile: int) -> tuple[float, ...]:
    """Steps of a cell over two factors a matrix: as those of hybrid ones without dense rows, of many parts."""
    steps, columns, height = call.shape
    gates, kept = (4 if call.kernel.startswith("lstm") else 3), dict(call.left).get("kept", 1.0)
    ranks = [max(1, math.floor(height * n * kept / (height + n))) for n in (columns, height)]
    products = sum(_blocks(gates * r) * _blocks(n) for r, n in zip(ranks, (columns, height), strict=True))
    fours, ones = (sum(whole(r) for r in ranks) for whole in (lambda r: r // 4, lambda r: r % 4))
    odd = (columns if columns % BLOCK else 0) + (height if height % BLOCK else 0)
    poor = (gates * height * fours, gates * height * ones, gates * (fours + ones))
    each = (1.0, products, sum(_blocks(gates * r) for r in ranks), *poor, float(height), odd)
    return tuple(steps * one for one in each)


def _channels(call: KernelCall) -> tuple[int, float, float]:
    """Return the channels of a group that wins together, and how many channels are read and won."""
    _, _, c_in, c_out, *_ = call.shape
    left, block = dict(call.left), int(dict(call.variant).get("block", 1))
    shares = ((c_in, left.get("inputs", 1.0)), (c_out, left.get("outputs", 1.0)))
    read, won = (min(c, max(1, math.floor(-(-c // block) * share + 0.5)) * block) for c, share in shares)
    return block, read, won


def _single(call: KernelCall, tile: int) -> tuple[float, ...]:
    """A dense convolution of the channels that are there, and what choosing and gathering them takes."""
    h, w, c_in, c_out, kh, kw, *rest = call.shape
    _, read, won = _channels(call)
    dense = _conv(KernelCall("conv", (h, w, int(read), int(won), kh, kw, *rest)), tile)
    out_h, out_w = outputs(call.shape)
    taps, pixels = kh * kw, float(out_h * out_w)
    return (
        *dense,
        *(taps * read * won, taps * read * _blocks(int(won)), taps * read),
        *(h * w * read if read < c_in else 0.0, h * w * _blocks(int(read)), pixels * won, pixels * c_out),
        *(_blocks(c_in) * _blocks(c_out), float(c_out), 31.0 * c_out),
    )


def _hybrid(call: KernelCall, tile: int) -> tuple[float, ...]:
    """The same in bytes, in pieces, with the low bits of what is open."""
    h, w, c_in, c_out, kh, kw, *rest = call.shape
    block, read, won = _channels(call)
    variant, open_share = dict(call.variant), dict(call.left).get("open", 1.0)
    pieces, group = int(variant["pieces"]), int(variant["group"])
    inner = KernelCall("conv", (h, w, int(read) * pieces, int(won), kh, kw, *rest))
    dense = _conv(inner, tile)
    out_h, out_w = outputs(call.shape)
    pixels, b_out, steps = float(out_h * out_w), _blocks(int(won)), dense[7]
    # Decisions in a block of winners: of a few, more groups of the layer have a part in it.
    deciding = min(BLOCK, won) if group == 1 else 1.0 if block == BLOCK else c_out / won
    rows = pixels * (1 - (1 - open_share) ** deciding)
    places = steps * BLOCK
    return (
        *dense,
        *(places * won, places * b_out, places * _blocks(c_out)),
        *(h * w * read if read < c_in else 0.0, h * w * read * pieces, h * w * read, h * w * _blocks(int(read))),
        *(pixels * won, pixels * c_out, pixels * b_out, pixels * b_out if group > 1 else 0.0),
        *(rows * b_out, rows * b_out * steps, b_out * steps if rows else 0.0),
        *(_blocks(c_in) * _blocks(c_out), float(c_out), 31.0 * c_out if block == 1 else 0.0),
    )


WORK: Mapping[str, Callable[[KernelCall, int], tuple[float, ...]]] = {
    "conv": _conv,
    "fbs": _fbs,
    "pg": _pg,
    "lstm": _step,
    "gru": _step,
    "gate": _gate,
    "depthwise": _depthwise,
    "fbs_single": _single,
    "fbs_pg": _hybrid,
    "lstm_lmf": _low_rank,
    "gru_lmf": _low_rank,
    "average": _pool,
    "largest": _pool,
    "sum": _sum,
}


def names() -> tuple[str, ...]:
    """Return the names of the tables that are shipped.

    >>> "cortex_m4" in names()
    True
    """
    return tuple(_shipped())


def load(where: str, name_or_path: str, beside: Path | None = None) -> BoardTable:
    """Read a table: a shipped one by its name, or a file that ends in ``.json``.

    Args:
        where: what names it, for errors.
        name_or_path: the name or path.
        beside: a folder that a relative path starts from.

    Raises:
        UserError: no such table, or one that breaks the schema; one line.
    """
    if name_or_path.endswith(".json"):
        path = (beside or Path()) / name_or_path
        if not path.is_file():
            raise UserError(f"{where}: no file {str(path)!r}")
    elif name_or_path in _shipped():
        path = _shipped()[name_or_path]
    else:
        raise unknown(where, "table", name_or_path, names())
    return parse(str(path), path.read_text(encoding="utf-8"))


def parse(where: str, text: str) -> BoardTable:
    """Read a table's text.

    Raises:
        UserError: it breaks the schema.
    """
    try:
        return BoardTable.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"{where}: {place + ': ' if place else ''}{first['msg']}") from error


def _shipped() -> dict[str, Path]:
    folder = Path(str(resources.files("gatesearch.cost.sources.board") / "tables"))
    return {path.stem: path for path in sorted(folder.glob("*.json"))}


def shares_of(call: KernelCall) -> dict[str, Any]:
    """Return a call as a table writes it."""
    return {"kernel": call.kernel, "shape": list(call.shape), "variant": dict(call.variant), "left": dict(call.left)}
