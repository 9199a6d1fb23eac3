"""Functions that damage inputs at random: trees of values, texts, arrays and files."""

from __future__ import annotations

import copy
import datetime
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tests.doors.values import PYTHON_VALUES

MAX_PATH = 200
DEEP: Any = []
for _ in range(100):
    DEEP = [DEEP]

# Values that YAML can hold.
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 0.5, -0.0, 10**6, 2**31, 2**63, 10**20, 10**400,
    1e-320, 5e-324, 1e-12, 1e308, math.inf, -math.inf, math.nan,
    "", " ", "1e3", "3", "true", "null", "all", "*", "positive", "yes", "é", "x" * 3000, "a\nb", "a\tb", "\x00", "-",
    "../../x", "/etc/passwd", "~", "~nobody/x", "/", ".", "file:///etc/passwd", "C:\\x", "a:b:c", ":", "x:",
    "os:system", "subprocess:Popen", "builtins:eval", "pickle:loads", "gatesearch.api:data", "no_such_module:Name",
    "${seed}", "${oc.env:HOME}", "${title}${title}", "${nowhere}", "${", "???", "$", "!!python/object:os.system",
    "x" * 3000 + ".yaml", "~no_such_user/x.yaml", "h\u043est", "\u202ehost", "a\u2028b", "\u0663", "190:20:30",
    "<<", "=",
    [], {}, [1], ["a", "a"], {"a": 1}, {"name": "x"}, [None], [[1, 2], [3]], {"a": {"b": {}}}, [math.nan], DEEP,
)  # fmt: skip
# Values that YAML can hold and JSON cannot.
YAML_VALUES: tuple[Any, ...] = (*VALUES, datetime.date(2026, 1, 1), b"bytes", {"a", "b"})
# Values that only a program can pass as arguments.
OBJECTS: tuple[Any, ...] = (
    *(make() for make in PYTHON_VALUES.values()),
    b"bytes", object(), print, Random, 1j, {1, 2}, (), (1, 2), range(3), Path("x"), Path("\udcff"), "\udcff",
    "\ud800",
    np.float32(0.5), np.int64(3), np.zeros(3), np.array("x"), {1: 2}, {None: 1}, {("a",): 1}, iter([1]),
    Exception("x"),
)  # fmt: skip


def list_paths(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value of a tree, groups before their values."""
    if len(path) > MAX_PATH:  # a list may hold itself
        return
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, value in items:
        yield (*path, name)
        yield from list_paths(value, (*path, name))


def mutate_tree(tree: Any, random: Random, values: tuple[Any, ...] = VALUES) -> Any:
    """Return a copy of a tree with one to three changes."""
    tree = copy.deepcopy(tree)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        paths = list(list_paths(tree))
        if not paths:
            break
        *groups, last = random.choice(paths)
        holder = tree
        for name in groups:
            holder = holder[name]
        random.choice(_CHANGES)(holder, last, random, values)
    return tree


def copy_value(value: Any) -> Any:
    """Return a copy of a value, or the value itself where it cannot be copied, such as a generator."""
    try:
        return copy.deepcopy(value)
    except Exception:  # each kind of object raises another one
        return value


def _replace(holder: Any, name: Any, random: Random, values: tuple[Any, ...]) -> None:
    holder[name] = copy_value(random.choice(values))


def _drop(holder: Any, name: Any, random: Random, values: tuple[Any, ...]) -> None:
    del holder[name]


def _rename(holder: Any, name: Any, random: Random, values: tuple[Any, ...]) -> None:
    if isinstance(holder, dict):
        text = str(name)
        place = random.randrange(len(text) + 1)
        holder[random.choice((text[:place] + "x" + text[place:], text.upper(), "", 7, True, None))] = holder.pop(name)


def write_value(value: Any) -> str:
    try:
        return str(value)
    except Exception:
        return type(value).__name__


def _wrap(holder: Any, name: Any, random: Random, values: tuple[Any, ...]) -> None:
    holder[name] = random.choice(([holder[name]], {"name": holder[name]}, write_value(holder[name])))


def _add(holder: Any, name: Any, random: Random, values: tuple[Any, ...]) -> None:
    if isinstance(holder, dict):
        holder[random.choice(("extra", "nmae", "epochs", "name", "root"))] = random.choice(values)
    else:
        holder.insert(name, random.choice(values))


def _scale(holder: Any, name: Any, random: Random, values: tuple[Any, ...]) -> None:
    value = holder[name]
    if isinstance(value, int | float) and not isinstance(value, bool):
        holder[name] = value * random.choice((-1, 0, 10, 1e-6, 1e9))


def _shuffle(holder: Any, name: Any, random: Random, values: tuple[Any, ...]) -> None:
    if isinstance(holder, list):
        holder.append(copy_value(holder[random.randrange(len(holder))]))
        random.shuffle(holder)
    else:
        other = random.choice(list(holder))
        holder[name], holder[other] = holder[other], holder[name]


_CHANGES: tuple[Callable[[Any, Any, Random, tuple[Any, ...]], None], ...] = (
    _replace, _replace, _replace, _replace, _drop, _drop, _rename, _wrap, _add, _scale, _scale, _shuffle,
)  # fmt: skip

STRAYS = (
    b"\t",
    b"\x00",
    b"\xff",
    b"\xc3",
    b": ",
    b"- ",
    b"[",
    b"{",
    b"'",
    b'"',
    b"&a ",
    b"*a ",
    b"!!int ",
    b"#",
    b"|",
    b"?",
    b"\n<<: *a\n", b"\n<<: [1]\n", b"!!set ", b"!!omap ", b"!!binary ", b"!!bool ", b"%YAML 9.9\n---\n",
    b"\n---\n", b"\n...\n",
    b"190:20:30", b"2026-99-99", b"9" * 6000, b"0x_", b"1e999999999", b"[" * 3000,
    *(letter.encode() for letter in "\u200b\u00a0\uff1a\u0435\u202e\u2028\u0085\u0301"),
)  # fmt: skip


def mutate_bytes(content: bytes, random: Random) -> bytes:
    """Return bytes with one to three changes, as torn writes, editors and attackers make them."""
    for _ in range(random.choice((1, 1, 2, 3))):
        content = _mutate_once(content, random)
    return content


def _mutate_once(content: bytes, random: Random) -> bytes:
    place = random.randrange(len(content) + 1)
    lines = content.split(b"\n")
    line = random.randrange(len(lines))
    before, after = lines[:line], lines[line + 1 :]
    stray, byte = random.choice(STRAYS), bytes([random.randrange(256)])
    return random.choice(
        (
            content[:place],
            content[:place] + stray + content[place:],
            content[:place] + byte + content[place + 1 :],
            b"\n".join([*before, *after]),
            b"\n".join([*before, lines[line], lines[line], *after]),
            b"\n".join([*before, b" " + lines[line], *after]),
            content.replace(b"\n", b"\r\n"),
            b"\xef\xbb\xbf" + content,
            content.decode(errors="ignore").encode("utf-16"),
            content[place:] + content[:place],
            b"",
        )
    )


def mutate_file(path: Path, random: Random) -> None:
    """Damage a file in place, or put something else there."""
    content = path.read_bytes()
    kind = random.choice(("bytes", "bytes", "bytes", "empty", "gone", "folder", "pipe", "link", "loop", "name", "twin"))
    if kind == "bytes":
        path.write_bytes(mutate_bytes(content, random))
        return
    if kind == "twin":  # macOS leaves such a file beside another
        path.with_name(f"._{path.name}").write_bytes(content[:10])
        return
    path.unlink()
    if kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/no/such/file")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "name":
        Path(os.fsdecode(os.fsencode(path.parent) + b"/caf\xe9" + os.fsencode(path.suffix))).write_bytes(content)


def mutate_arrays(arrays: dict[str, Any], random: Random) -> dict[str, Any]:
    """Return the arrays with one change: another type or shape, unusual numbers, a missing or an additional array."""
    arrays = dict(arrays)
    name = random.choice(list(arrays))
    array = arrays[name]
    change = random.randrange(9)
    if change == 0:
        del arrays[name]
    elif change == 1:
        arrays[name] = array[: random.randrange(len(array) + 1)]
    elif change == 2:
        arrays[name] = array[..., None]
    elif change == 3:
        kinds = ("U8", "O") if array.dtype.kind == "U" else ("float64", "complex64", "U8", "bool", "int64", "O")
        arrays[name] = array.astype(random.choice(kinds))
    elif change == 4:
        arrays[name] = np.full(array.shape, random.choice((math.nan, math.inf, -1e30, 300.0, -1.0)))
    elif change == 5:
        arrays[name] = np.zeros_like(array)
    elif change == 6:
        arrays[name] = np.array(random.choice((0, 1.5, "x")))
    elif change == 7:
        arrays[name] = array.reshape(-1)
    else:
        arrays["extra"] = array
    return arrays
