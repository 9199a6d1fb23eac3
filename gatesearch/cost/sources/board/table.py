"""A core's kernel table: readings of kernel calls, and a linear model that predicts any other call.

The time of a kernel is modelled as linear in a few terms, such as numbers of block products, pixels and copied values.
The terms follow from a call's shape and shares (:meth:`gatesearch.kernels.base.CountedKernel.work`). A table holds
readings; a linear fit without negative slopes predicts calls of other shapes. The table also states the errors of its
predictions at held-out shapes, which the fit does not use.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.optimize import nnls

from gatesearch.errors import UserError, unknown
from gatesearch.gates import KernelCall
from gatesearch.kernels import counted_kernels

SCHEMA_VERSION = 1
UNITS = ("instructions", "cycles", "ns")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Reading(_Strict):
    """The cost of a call, in the table's unit.

    Args:
        kernel: the kernel's name.
        shape: the layer's shape.
        variant: parameters besides the shape that select one of the kernel's programs.
        remaining: shares of the work that remain, by name. The share ``open`` is the share of outputs that the
            precision gate opened. The key in the file is ``left``.
        shortest: the shortest time or count of all repetitions (turns). The key in the file is ``taken``.
        median: the median of all repetitions, unless it equals the shortest. The key in the file is ``middle``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    kernel: str
    shape: tuple[int, ...]
    variant: dict[str, int] = {}
    remaining: Annotated[dict[str, float], Field(alias="left")] = {}
    shortest: Annotated[float, Field(alias="taken", ge=0, allow_inf_nan=False)]
    median: Annotated[
        Annotated[float, Field(ge=0, allow_inf_nan=False)] | None,
        Field(alias="middle"),
    ] = None

    @property
    def call(self) -> KernelCall:
        """The call that was timed or counted."""
        return KernelCall(self.kernel, self.shape, tuple(sorted(self.variant.items())), tuple(self.remaining.items()))


class Error(_Strict):
    """The errors of a table's predictions at held-out shapes, relative to the readings there."""

    calls: int
    median: float
    largest: float


class BoardTable(_Strict):
    """The readings of kernel calls on one core.

    Args:
        name: the name of the table.
        core: description of the core in words.
        unit: the unit of the readings.
        provenance: ``"simulated"`` if an emulator counted instructions, ``"measured"`` if a clock measured times.
        source: a sentence that says how the readings were taken and what they do not model.
        tools: versions of compiler and emulator, the flags, and a digest of the kernels' sources.
        tile: number of outputs that the kernels' inner loop computes at once.
        readings: the readings that the fit uses.
        others: the readings at the held-out shapes.
        held_out: by kernel, the errors of predictions at the held-out shapes.
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
    def summary(self) -> str:
        """The table in a line: number and provenance of its readings, and its errors at held-out shapes."""
        errors = ", ".join(
            f"{kernel} {error.median:.1%} (at most {error.largest:.1%})" for kernel, error in self.held_out.items()
        )
        ending = f"; median error at shapes held out: {errors}" if errors else ""
        return f"table {self.name}, {len(self.readings)} readings, {self.provenance}: {self.source}{ending}"

    @cached_property
    def costs(self) -> BoardCosts:
        """The costs of any call, fitted to all readings."""
        return BoardCosts.fit(self)

    def with_errors(self) -> BoardTable:
        """Return the table with its errors at the held-out shapes."""
        return self.model_copy(update={"held_out": held_out_errors(self.costs, self.others)})

    def to_json(self) -> str:
        """Return the table as JSON, with one reading on each line."""
        values = self.model_dump(exclude_none=True, by_alias=True)
        blocks = []
        for key in ("readings", "others"):
            lines = ",\n  ".join(json.dumps(row) for row in values.pop(key))
            blocks.append(f' "{key}": [\n  {lines}\n ]')
        head = json.dumps(values, indent=1).removesuffix("\n}")
        return head + ",\n" + ",\n".join(blocks) + "\n}\n"


@dataclass(frozen=True)
class BoardCosts:
    """The costs of calls of any shape; a :class:`gatesearch.cost.kernel_costs.KernelCosts`.

    Args:
        provenance: the provenance of the readings.
        tile: number of outputs that the kernels' inner loop computes at once.
        slopes: by family of calls, the slope of each term of work. A family holds the calls with the same slopes.
    """

    provenance: Literal["simulated", "measured"]
    tile: int
    slopes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def fit(cls, table: BoardTable) -> BoardCosts:
        """Fit the slopes of each family of calls to the table's readings.

        The fit minimises the sum of squared relative errors, sum ((slope . work - reading) / reading)^2, by
        non-negative least squares (Lawson and Hanson 1974). Relative errors give a small call the same weight as a
        large one. Without negative slopes, no term can compensate another term that is too large. Terms differ by
        orders of magnitude, so each column of the matrix is first divided by its largest value.
        """
        readings: dict[str, list[tuple[dict[str, float], float]]] = {}
        for reading in table.readings:
            kernel = counted_kernels().get(reading.kernel)
            if kernel is not None and reading.shortest > 0:
                work = kernel.work(reading.call, table.tile)
                readings.setdefault(kernel.family(reading.call), []).append((work, reading.shortest))
        slopes = {}
        for family, rows in readings.items():
            terms = list(rows[0][0])
            matrix = np.array([[work[term] for term in terms] for work, _ in rows])
            values = np.array([value for _, value in rows])
            scale = np.maximum(matrix.max(0), 1e-12)
            slope, _ = nnls(matrix / scale / values[:, None], np.ones(len(values)), maxiter=50 * len(terms))
            slopes[family] = dict(zip(terms, (slope / scale).tolist(), strict=True))
        return cls(table.provenance, table.tile, slopes)

    def reading(self, call: KernelCall) -> float | None:
        """Return the predicted reading of a call in the table's unit; None if the table does not have its kernel."""
        kernel = counted_kernels().get(call.kernel)
        slopes = None if kernel is None else self.slopes.get(kernel.family(call))
        if kernel is None or slopes is None:
            return None
        work = kernel.work(call, self.tile)
        return math.fsum(slope * work[term] for term, slope in slopes.items())


def held_out_errors(costs: BoardCosts, others: Sequence[Reading]) -> dict[str, Error]:
    """Return the errors of predicted costs at held-out readings, by kernel."""
    by_kernel: dict[str, list[float]] = {}
    for reading in others:
        predicted = costs.reading(reading.call)
        if predicted is not None and reading.shortest:
            by_kernel.setdefault(reading.kernel, []).append(abs(predicted / reading.shortest - 1))
    return {
        kernel: Error(calls=len(errors), median=round(median(errors), 4), largest=round(max(errors), 4))
        for kernel, errors in by_kernel.items()
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
        where: the key or argument that names the table, for error messages.
        name_or_path: the name or path.
        beside: the folder from which a relative path starts; None means the current folder.

    Raises:
        UserError: there is no such table, or it breaks the schema; the message is one line.
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
    """Return the table that a JSON text describes.

    Raises:
        UserError: the text breaks the schema.
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


def call_to_dict(call: KernelCall) -> dict[str, Any]:
    """Return a call as the JSON-ready values that tables and manifests hold."""
    variant, remaining = dict(call.variant), dict(call.remaining)
    return {"kernel": call.kernel, "shape": list(call.shape), "variant": variant, "left": remaining}
