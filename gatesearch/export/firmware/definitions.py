"""The definitions of gs_plan.c in their order: constant arrays, structures and working memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gatesearch.export.firmware.arrays import ConstantArrays, structure
from gatesearch.export.firmware.memory_plan import align
from gatesearch.export.firmware.shared_memory import member
from gatesearch.runtime.cascade import requantise
from gatesearch.runtime.stream_gate import StreamGateSettings
from gatesearch.runtime.tensor_spec import TensorSpec

SIZES: Mapping[str, int] = {"int8_t": 1, "uint8_t": 1, "int16_t": 2, "int32_t": 4, "float": 4, "double": 8}
INT8 = np.arange(-128, 128).astype(np.int8)


class Definitions:
    """Collects C definitions; its methods return C expressions, or fields of a structure, that refer to them.

    Attributes:
        arrays: the constant arrays.
        ram: bytes of working memory, by the name of the part that uses them.
        lines: the other definitions.
        shared, shared_bytes: declarations and bytes of the stages' arrays in the memory that they share with samples.

    Args:
        shares: whether stages share memory with samples.
    """

    def __init__(self, shares: bool = False) -> None:
        self.arrays, self.ram, self.lines = ConstantArrays(), dict[str, int](), list[str]()
        self._shares, self.shared, self.shared_bytes = shares, list[str](), 0

    def stage_memory(self, kind: str, name: str, count: int, part: str) -> str:
        """Define an array that only open stages need, add its bytes to those of a part, and return its C name."""
        if not self._shares:
            return self.memory(kind, name, count, part)
        size = SIZES[kind] * max(1, count)
        self.shared.append(f"{kind} {name}[{max(1, count)}] GS_ALIGNED;")
        self.shared_bytes += align(size)
        self.ram[part] = self.ram.get(part, 0) + size
        return member(name)

    def memory(self, kind: str, name: str, count: int, part: str) -> str:
        """Define an array of working memory, add its bytes to those of a part, and return its C name."""
        count = max(1, count)
        self.lines.append(f"static {kind} {name}[{count}];")
        self.ram[part] = self.ram.get(part, 0) + SIZES[kind] * count
        return name

    def constant(self, kind: str, name: str, fields: Mapping[str, Any]) -> str:
        """Define a constant structure, and return its address."""
        self.lines.append(f"static const {kind} {name} = {structure(fields)};")
        return f"&{name}"

    def constants(self, kind: str, name: str, values: Sequence[str]) -> str:
        """Define a constant array from its initialisers, and return its C name."""
        rows = ",\n".join(f"    {value}" for value in values)
        self.lines.append(f"static const {kind} {name}[{len(values)}] = {{\n{rows}}};")
        return name

    def gate(self, settings: StreamGateSettings, name: str) -> dict[str, Any]:
        """Return the fields of a gate's structure, and define memory for its scores."""
        return {
            "threshold": float(settings.threshold),
            "smoothing": settings.smoothing,
            "hold": settings.hold,
            "scores": self.memory("double", f"scores_{name}", settings.smoothing, "gates"),
        }

    def scale_table(self, source: TensorSpec, target: TensorSpec) -> dict[str, Any]:
        """Return the field ``table``, which converts int8 values of one scale to another; empty if no value changes."""
        table = requantise(INT8, source, target)
        return {} if np.array_equal(table, INT8) else {"table": self.arrays.add(table)}
