"""A sequence of C operators on bytes that one call from Python runs."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gatesearch.kernels.arrays import address
from gatesearch.kernels.base import ActiveChannels
from gatesearch.kernels.byte_layers import PartLayer
from gatesearch.kernels.library import Library, Shape
from gatesearch.runtime.stage_operators import GATED, MOVE, RECURRENCE, COperator, OperatorList

Array = npt.NDArray[Any]
LAYER_OPERATORS: Mapping[str, int] = {"gated": GATED, "recurrence": RECURRENCE}


class PlacedLayer(NamedTuple):
    """A layer among C operators: the layer, and the C struct that its operator points to."""

    layer: PartLayer
    struct: ctypes.Structure


class ByteOperators:
    """C operators that run one after the other.

    Args:
        library: the compiled kernels.

    Attributes:
        operators: the operators so far.
        layers: the layers that kernels run, by the index of their operator.
        programs: the .tflite programs whose operators are among them.
        runs: the arrays that say which bytes a copy between two memories moves.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self.operators: list[COperator] = []
        self.layers: dict[int, PlacedLayer] = {}
        self.programs: list[OperatorList] = []
        self.runs: list[Array] = []
        self._owners: list[Any] = []  # objects whose memory C reads

    def __len__(self) -> int:
        return len(self.operators)

    def add_layer(
        self, layer: PartLayer, x: Array, y: Array, active: ActiveChannels | None, whole: bool = True
    ) -> None:
        """Add a layer from x to y, both uint8; see :meth:`.ByteLayer.describe` for the other arguments."""
        struct = layer.describe(active, whole)
        self._owners += [x, y, active]
        self.layers[len(self.operators)] = PlacedLayer(layer, struct)
        self.operators.append(
            COperator(
                kind=LAYER_OPERATORS[layer.operator],
                outputs=y.size,
                count=x.size,
                shape=Shape() if layer.geometry is None else layer.geometry.c,
                x=address(x),
                y=address(y),
                scratch=address(layer.scratch),
                **{layer.operator: ctypes.addressof(struct)},
            )
        )

    def add_move(self, source: int | None, first: int, target: int | None, size: int) -> None:
        """Add a copy of ``size`` bytes from the address ``source`` + ``first`` to the address ``target``."""
        runs = np.array([[first, size]], np.int32)
        self.runs.append(runs)
        self.operators.append(COperator(kind=MOVE, outputs=size, count=1, x=source, y=target, index=address(runs)))

    def add_all(self, operators: OperatorList) -> None:
        """Add the operators of a .tflite program."""
        self.programs.append(operators)
        self.operators += operators.operators

    def bind(self) -> Callable[[], object]:
        """Return a function that runs the operators."""
        array = (COperator * len(self.operators))(*self.operators)
        run = partial(self._library.function("run_ops"), ctypes.addressof(array), len(array))

        def call(_owners: tuple[Any, ...] = (array, self)) -> object:
            return run()

        return call
