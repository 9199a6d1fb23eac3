"""Odd Python values that a program may pass in place of a text, a number, a group of keys or an array."""

from __future__ import annotations

import gc
import io
import json
import types
from collections import ChainMap, OrderedDict, UserDict, namedtuple
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

HUGE = 10**5000  # more digits than Python prints


class Color(Enum):
    RED = 1


class Column:
    """A stand-in for a column of pandas: it has values, a length and a dtype, but no truth value."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)
        self.dtype = self.values.dtype

    def __len__(self) -> int:
        return len(self.values)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.values if dtype is None else self.values.astype(dtype)

    def __bool__(self) -> bool:
        raise ValueError("The truth value of a Series is ambiguous.")

    def __eq__(self, other: object) -> Any:
        return self.values == other

    __hash__ = None  # type: ignore[assignment]


class Rude:
    """An object that cannot be printed, counted, compared or read as true or false."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __iter__(self) -> Any:
        raise RuntimeError("no iteration")

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no equality")

    __hash__ = None  # type: ignore[assignment]


def closed_file() -> Any:
    file = io.StringIO("text")
    file.close()
    return file


def self_referring() -> Any:
    tree: list[Any] = []
    tree.append(tree)
    return tree


# Values that a program passes where a text, a number or a group is expected.
PYTHON_VALUES: Mapping[str, Callable[[], Any]] = {
    "huge integer": lambda: HUGE,
    "minus huge integer": lambda: -HUGE,
    "numpy scalar": lambda: np.float64(0.5),
    "numpy bool": lambda: np.bool_(True),
    "numpy text": lambda: np.str_("host"),
    "numpy object array": lambda: np.array([{"a": 1}], dtype=object),
    "numpy record": lambda: np.zeros(2, dtype=[("a", int), ("b", float)]),
    "numpy date": lambda: np.datetime64("NaT"),
    "tensor": lambda: torch.zeros(()),
    "tensor with gradient": lambda: torch.zeros(2, requires_grad=True),
    "sparse tensor": lambda: torch.zeros(2, 2).to_sparse(),
    "meta tensor": lambda: torch.zeros(2, device="meta"),
    "column": lambda: Column([1, 2]),
    "loader": lambda: DataLoader(TensorDataset(torch.zeros(3, 1))),
    "generator": lambda: (i for i in range(3)),
    "lambda": lambda: lambda: None,
    "closed file": closed_file,
    "list of itself": self_referring,
    "decimal": lambda: Decimal("NaN"),
    "fraction": lambda: Fraction(1, 3),
    "enumeration": lambda: Color.RED,
    "named tuple": lambda: namedtuple("Pair", "a b")(1, 2),
    "mapping": lambda: UserDict({"a": 1}),
    "chain of mappings": lambda: ChainMap({"a": 1}, {"b": 2}),
    "ordered mapping": lambda: OrderedDict(a=1),
    "mapping proxy": lambda: types.MappingProxyType({"a": 1}),
    "keys of a mapping": lambda: {"a": 1}.keys(),
    "frozen set": lambda: frozenset({"a"}),
    "bytearray": lambda: bytearray(b"abc"),
    "memory": lambda: memoryview(b"abc"),
    "module": lambda: json,
    "class": lambda: dict,
    "not implemented": lambda: NotImplemented,
    "ellipsis": lambda: ...,
    "rude object": Rude,
    "folder": lambda: Path("/"),
    "empty path": lambda: Path(""),
    "device file": lambda: Path("/dev/zero"),
    "process memory": lambda: "/proc/self/mem",
    "null byte": lambda: "a\0b",
    "long name": lambda: "x" * 5000,
    "look-alike": lambda: "h\u043est",
    "directions": lambda: "\u202ehost",
    "emoji": lambda: "\U0001f600" * 30,
    "long path": lambda: "x" * 5000 + ".yaml",
    "key of a huge integer": lambda: {HUGE: 1},
    "key of a number": lambda: {0: 1, 1.5: 2, True: 3, None: 4, (): 5},
    "keys that look alike": lambda: {"1": 1, 1: 2},
    "nested mapping": lambda: {"a": {"b": {"c": Rude()}}},
    "long list": lambda: list(range(100_000)),
    "long mapping": lambda: {f"k{i}": i for i in range(20_000)},
    "frame": lambda: gc.collect,
}


WINDOWS: Mapping[str, Callable[[], Any]] = {
    "list": lambda: [[0.0] * 8] * 8,
    "text": lambda: np.full((1, 8, 8), "a"),
    "objects": lambda: np.full((1, 8, 8), None),
    "tensor": lambda: torch.zeros(1, 8, 8),
    "tensor with gradient": lambda: torch.zeros(1, 8, 8, requires_grad=True),
    "scalar": lambda: np.float32(0),
    "empty": lambda: np.zeros((0, 8, 8), np.float32),
    "batch": lambda: np.zeros((3, 1, 8, 8), np.float32),
    "five axes": lambda: np.zeros((1, 1, 1, 8, 8), np.float32),
    "transposed": lambda: np.zeros((8, 8, 1), np.float32),
    "not a number": lambda: np.full((1, 8, 8), np.nan, np.float32),
    "infinite": lambda: np.full((1, 8, 8), np.inf, np.float32),
    "complex": lambda: np.zeros((1, 8, 8), np.complex64),
    "none": lambda: None,
    "path": lambda: Path("x.wav"),
    "big endian": lambda: np.zeros((1, 8, 8), ">f4"),
    "strided": lambda: np.zeros((1, 16, 16), np.float32)[:, ::2, ::-2],
    "dates": lambda: np.zeros((1, 8, 8), "M8[s]"),
    "generator": lambda: (i for i in range(3)),
    "column": lambda: Column(np.zeros((1, 8, 8), np.float32)),
}
