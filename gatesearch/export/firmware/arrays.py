"""Writes arrays and structures as C text; equal arrays are written once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gatesearch.gates import BLOCK
from gatesearch.kernels.arrays import Array

TYPES: Mapping[str, str] = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "uint16": "uint16_t",
    "int32": "int32_t",
    "uint32": "uint32_t",
    "int64": "int64_t",
    "float32": "float",
    "float64": "double",
}
WIDTH = 116  # characters of a line
# A place is the position of a weight among the weights of one output channel: a tap and an input channel.
QUAD = 4  # neighbouring places whose weights lie side by side in the usual order


class ConstantArrays:
    """The constant arrays of firmware, as C definitions in the order in which they were added.

    >>> arrays = ConstantArrays()
    >>> first, again = arrays.add(np.array([1, 2], np.int8)), arrays.add(np.array([1, 2], np.int8))
    >>> first, again, arrays.bytes
    ('c0', 'c0', 2)
    >>> print(arrays.text())
    static const int8_t c0[2] = {
        1,2};
    """

    def __init__(self) -> None:
        self._names: dict[tuple[str, bytes], str] = {}
        self._texts: list[str] = []
        self.bytes = 0

    def add(self, array: Array) -> str:
        """Return the C name of an array with these values; an array that equals an earlier one is not written again."""
        flat = np.ascontiguousarray(array).ravel()
        key = (str(flat.dtype), flat.tobytes())
        if key not in self._names:
            self._names[key] = name = f"c{len(self._names)}"
            self._texts.append(f"static const {TYPES[str(flat.dtype)]} {name}[{flat.size}] = {{\n{_rows(flat)}}};")
            self.bytes += flat.nbytes
        return self._names[key]

    def add_packed(self, packed: Array) -> str:
        """Return the C name of packed weights of a convolution, int8 [blocks, places / 4, 16 channels, 4 places].

        Instruction sets that define ``GS_HAS_WEIGHT_AT`` (simd.h) read another order: [places / 16, 16
        channels, 16 places]. Both orders are written; the C compiler takes one. The array begins at a multiple of 16,
        because some sets load several words at once.
        """
        by_places = packed.reshape(-1, BLOCK // QUAD, BLOCK, QUAD).transpose(0, 2, 1, 3)
        key = ("packed", packed.tobytes())
        if key not in self._names:
            self._names[key] = name = f"c{len(self._names)}"
            orders = [_rows(np.ascontiguousarray(each).ravel()) for each in (by_places, packed)]
            self._texts.append(
                f"static const int8_t {name}[{packed.size}] GS_ALIGNED = {{\n"
                f"#ifdef GS_HAS_WEIGHT_AT\n{orders[0]}\n#else\n{orders[1]}\n#endif\n}};"
            )
            self.bytes += packed.nbytes
        return self._names[key]

    def text(self) -> str:
        """Return the definitions."""
        return "\n".join(self._texts)


def number(value: Any) -> str:
    """Return the C constant that has exactly the value of a number.

    >>> number(np.float32(0.1)), number(0.5), number(7), number(float("-inf"))
    ('0x1.99999ap-4f', '0x1.0000000000000p-1', '7', '-HUGE_VAL')
    """
    if isinstance(value, int | np.integer):
        return str(int(value))
    if math.isinf(value):
        return "HUGE_VAL" if value > 0 else "-HUGE_VAL"
    if isinstance(value, np.float32):
        mantissa, exponent = float(value).hex().split("p")
        return f"{mantissa.rstrip('0') if '.' in mantissa else mantissa}p{exponent}f".replace(".p", ".0p")
    return float(value).hex()


def _rows(flat: Array) -> str:
    lines, line = [], "    "
    for item in flat:
        text = number(item) + ","
        if len(line) + len(text) > WIDTH:
            lines.append(line)
            line = "    "
        line += text
    return "\n".join([*lines, line]).rstrip(",")


def structure(fields: Mapping[str, Any]) -> str:
    """Return a C initialiser with named fields.

    >>> structure({"n": 3, "x": "c0", "scale": np.float32(0.5)})
    '{.n = 3, .x = c0, .scale = 0x1.0p-1f}'
    """
    parts = (f".{name} = {value if isinstance(value, str) else number(value)}" for name, value in fields.items())
    return "{" + ", ".join(parts) + "}"
