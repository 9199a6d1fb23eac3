"""Gated and recurrent layers between bytes as C structures that operators refer to."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from ctypes import c_void_p
from typing import Any

import numpy as np

from gatesearch.export.firmware.arrays import ConstantArrays, structure
from gatesearch.export.firmware.program_image import ProgramImage
from gatesearch.kernels.fbs_pg import CSplit
from gatesearch.kernels.fbs_predictor import CBoost
from gatesearch.kernels.pg_conv import CGate
from gatesearch.kernels.recurrent_u8 import RecurrentBytes
from gatesearch.runtime.byte_operators import PlacedLayer

TYPES: Mapping[str, str] = {"gated": "gs_gated", "recurrence": "gs_recurrence_u8"}
"""The C type of a layer's structure, by the name of its operator."""
# Fields that point to a structure: its class, and its C type.
POINTED: Mapping[str, tuple[type[ctypes.Structure], str]] = {
    "fbs": (CBoost, "gs_fbs"),
    "split": (CSplit, "gs_split"),
    "pg": (CGate, "gs_pg"),
}
INTEGER_BYTES = 4  # of the index of a winner


class LayerSource:
    """The C text of layers, and the memory for the winners that a layer passes on to the next one.

    Args:
        arrays: receives the constant arrays.

    Attributes:
        lines: the definitions.
        winner_bytes: bytes of memory for the indices of winners.
    """

    def __init__(self, arrays: ConstantArrays) -> None:
        self._arrays = arrays
        self._winners: dict[int, str] = {}  # C names by address on this host
        self.lines: list[str] = []
        self.winner_bytes = 0

    def define(self, image: ProgramImage, placed: PlacedLayer) -> str:
        """Define a layer, and return the address of its structure."""
        layer, name = placed.layer, f"layer_{len(self.lines)}"
        if layer.active is not None:
            groups = layer.active.groups
            self._winners[groups.ctypes.data] = f"winners_{name}"
            self.lines.append(f"static int32_t winners_{name}[{groups.size}];")
            self.winner_bytes += INTEGER_BYTES * groups.size
        if isinstance(layer, RecurrentBytes):
            fields = self._recurrence(image, layer, name)
        else:
            fields = self._fields(image, placed.struct, name)
        self.lines.append(f"static const {TYPES[layer.operator]} {name} = {structure(fields)};")
        return f"&{name}"

    def _fields(self, image: ProgramImage, struct: ctypes.Structure, name: str) -> dict[str, Any]:
        """Return the fields of a structure that are not 0, as C text or numbers."""
        fields: dict[str, Any] = {}
        for field, kind, *_ in struct._fields_:
            value = getattr(struct, field)
            if isinstance(value, ctypes.Structure):
                fields[field] = structure(self._fields(image, value, name))
            elif not value or field == "cells":
                continue
            elif kind is not c_void_p:
                fields[field] = np.float32(value) if isinstance(value, float) else value
            elif field in POINTED:
                pointed, c_type = POINTED[field]
                inner = self._fields(image, pointed.from_address(value), name)
                self.lines.append(f"static const {c_type} {field}_{name} = {structure(inner)};")
                fields[field] = f"&{field}_{name}"
            elif value in self._winners:
                fields[field] = self._winners[value]
            elif field == "packed":
                fields[field] = self._arrays.add_packed(image.array(value))
            elif field != "rows" or getattr(struct, "group", 1) == 1:  # the kernel reads rows for groups of 1 alone
                fields[field] = self._arrays.add(image.array(value))
        return fields

    def _recurrence(self, image: ProgramImage, layer: RecurrentBytes, name: str) -> dict[str, Any]:
        cells = ",\n".join("    " + structure(self._fields(image, cell, name)) for cell in layer.cells)
        self.lines.append(f"static const gs_cell_u8 cells_{name}[{len(layer.cells)}] = {{\n{cells}}};")
        fields: dict[str, Any] = self._fields(image, layer.c, name)
        tables = {table: fields.pop(table) for table in ("sigmoid", "tanh")}
        return fields | {"tables": structure(tables), "cells": f"cells_{name}"}
