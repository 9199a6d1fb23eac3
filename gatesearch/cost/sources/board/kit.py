"""Kits: a folder that a user takes to an own board, builds and runs there, and brings one file back from."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from gatesearch.cost.sources.board.calls import GATED_BITS, KERNELS, SHARES, VARIANTS
from gatesearch.cost.sources.board.table import UNITS, Reading, shares_of
from gatesearch.errors import UserError
from gatesearch.gates import KernelCall
from gatesearch.kernels.build import SOURCES

FORMAT = 1  # of the runner's lines
RUNNER = Path(__file__).parent / "runner"
MANIFEST = "manifest.json"
THOUSANDTHS = 1000


def write(folder: Path, calls: Sequence[KernelCall], others: Sequence[KernelCall] = ()) -> dict[str, Any]:
    """Write a kit that times ``calls`` and, to hold the table against, ``others``; returns its manifest.

    Raises:
        UserError: the folder is there and holds something else.
    """
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / MANIFEST).is_file())):
        raise UserError(f"kit={folder}: is there already, and is no kit")
    (folder / "kernels").mkdir(parents=True, exist_ok=True)
    for path in sorted(SOURCES.glob("*.[ch]")):
        shutil.copy(path, folder / "kernels" / path.name)
    for path in sorted(RUNNER.iterdir()):
        if path.is_file():
            shutil.copy(path, folder / path.name)
    listed = list(dict.fromkeys([*calls, *others]))
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "sources": sources(),
        "held_out": len(list(dict.fromkeys(calls))),
        "calls": [shares_of(call) for call in listed],
    }
    manifest["kit"] = digest(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    (folder / "rows.h").write_text(rows_h(manifest["kit"], listed), encoding="utf-8")
    return manifest


def sources() -> str:
    """Return a digest of the kernels and of the runner."""
    paths = [*sorted(SOURCES.glob("*.[ch]")), *sorted(RUNNER.glob("*.[ch]"))]
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in paths)).hexdigest()[:16]


def digest(manifest: Mapping[str, Any]) -> str:
    """Return a kit's fingerprint: what was to be timed, of which sources."""
    told = {key: manifest[key] for key in ("format", "sources", "held_out", "calls")}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def rows_h(kit: str, calls: Sequence[KernelCall]) -> str:
    """Return the header that lists the calls for the runner."""
    lines = [
        "/* What is to be timed; manifest.json says the same in words. */",
        f'#define GS_KIT "{kit}"',
        f"#define GS_KIT_FORMAT {FORMAT}",
        *(["#define GS_HAS_DEPTHWISE"] if any(call.kernel == "depthwise" for call in calls) else []),
        "static const gs_row rows[] = {",
        *(f"    {_row(call)}," for call in calls),
        "};",
    ]
    return "\n".join(lines) + "\n"


def _row(call: KernelCall) -> str:
    shape = call.shape if len(call.shape) != 3 or call.kernel != "gate" else (*call.shape, call.shape[2], *[1] * 8)
    variant = [int(dict(call.variant)[name]) for name in VARIANTS.get(call.kernel, ())]
    shares = [round(THOUSANDTHS * dict(call.left)[name]) for name in SHARES.get(call.kernel, ())]
    parts = [_braced(part) for part in (shape, variant, shares)]
    return f"{{{KERNELS.index(call.kernel)}, {', '.join(parts)}}}"


def _braced(values: Sequence[int]) -> str:
    return "{" + (", ".join(map(str, values)) or "0") + "}"


class Ran(NamedTuple):
    """What a runner printed."""

    kit: str
    unit: Literal["instructions", "cycles", "ns"]
    tile: int
    rows: Mapping[int, tuple[float, float, float]]  # by index: least, middle, share open
    skipped: tuple[int, ...]


def read(where: str, text: str, total: int) -> Ran:
    """Read what a runner printed.

    Args:
        where: the file, for errors.
        text: its lines; what stands before the first of the runner's own is passed over.
        total: calls of the kit.

    Raises:
        UserError: lines that the runner does not write, a unit that is none, rows that are missing or there twice.
    """
    head: dict[str, str] = {}
    rows: dict[int, tuple[float, float, float]] = {}
    skipped: list[int] = []
    begun = False
    for number, line in enumerate(text.splitlines(), 1):
        word, *fields = line.strip().split(",")
        begun = begun or word == "gatesearch"
        if not begun or not word:
            continue
        at = f"{where}:{number}"
        if word in ("gatesearch", "kit", "unit", "tile", "end") and len(fields) == 1:
            if word in head:
                raise UserError(f"{at}: {line.strip()!r}: a second {word} line; is this the output of two runs?")
            head[word] = fields[0]
        elif word == "row" and len(fields) == 4:
            index = _index(at, line, fields[0], total, rows, skipped)
            least, middle, share = (_number(at, line, one) / THOUSANDTHS for one in fields[1:])
            if middle < least:
                raise UserError(f"{at}: {line.strip()!r}: the middle turn is shorter than the shortest")
            rows[index] = least, middle, share
        elif word == "skipped" and len(fields) == 2:
            skipped.append(_index(at, line, fields[0], total, rows, skipped))
        else:
            raise UserError(f"{at}: {line.strip()!r}: no line of a kit's runner")
    for word in ("gatesearch", "kit", "unit", "tile", "end"):
        if word not in head:
            raise UserError(f"{where}: no {word} line: the output of a kit's runner is cut off, or is none")
    if head["gatesearch"] != str(FORMAT):
        raise UserError(f"{where}: format {head['gatesearch']!r}; this version reads {FORMAT}: write the kit anew")
    if head["unit"] not in UNITS:
        raise UserError(f"{where}: unit {head['unit']!r} is none of {', '.join(UNITS)}")
    missing = [index for index in range(total) if index not in rows and index not in skipped]
    if missing:
        raise UserError(f"{where}: {len(missing)} of {total} rows are missing, the first is row {missing[0]}")
    tile = int(_number(where, f"tile,{head['tile']}", head["tile"]))
    return Ran(head["kit"], cast(Any, head["unit"]), tile, rows, tuple(skipped))


def _index(at: str, line: str, written: str, total: int, rows: Mapping[int, object], skipped: Sequence[int]) -> int:
    index = int(_number(at, line, written))
    if index >= total:
        raise UserError(f"{at}: {line.strip()!r}: the kit has {total} rows, the last is {total - 1}")
    if index in rows or index in skipped:
        raise UserError(f"{at}: {line.strip()!r}: row {index} is there twice")
    return index


def _number(at: str, line: str, written: str) -> int:
    if not written.strip().isdigit():
        raise UserError(f"{at}: {line.strip()!r}: {written!r} is no whole number")
    return int(written)


def readings(manifest: Mapping[str, Any], ran: Ran) -> tuple[tuple[Reading, ...], tuple[Reading, ...]]:
    """Return the readings that a table is made of, and those that it is held against, less what the clock takes."""
    empty = ran.rows[0][0]
    found = []
    for index, call in enumerate(manifest["calls"]):
        if index in ran.rows and call["kernel"] != "nothing":
            least, middle, share = ran.rows[index]
            left = {**call["left"], "open": share} if call["kernel"] in GATED_BITS else call["left"]
            taken = [round(max(0.0, value - empty), 3) for value in (least, middle)]
            rest = {"middle": taken[1]} if taken[1] != taken[0] else {}
            found.append((index, Reading(**{**call, "left": left, "taken": taken[0], **rest})))
    held = manifest["held_out"]
    return tuple(r for i, r in found if i < held), tuple(r for i, r in found if i >= held)
