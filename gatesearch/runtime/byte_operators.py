"""A sequence of C operators on bytes that one call from Python runs."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from gatesearch.kernels.arrays import address
from gatesearch.kernels.base import ActiveChannels
from gatesearch.kernels.gated_u8 import ByteLayer
from gatesearch.kernels.library import Library
from gatesearch.runtime.stage_operators import GATED, MOVE, COperator, OperatorList

Array = npt.NDArray[Any]


class ByteOperators:
    """C operators that run one after the other.

    Args:
        library: the compiled kernels.
    """

    def __init__(self, library: Library) -> None:
        self._library, self._operators = library, list[COperator]()
        self._owners: list[Any] = []  # objects whose memory C reads

    def __len__(self) -> int:
        return len(self._operators)

    def add_layer(
        self, layer: ByteLayer, x: Array, y: Array, active: ActiveChannels | None, whole: bool = True
    ) -> None:
        """Add a gated layer from x to y, both uint8; see :meth:`.ByteLayer.describe` for the other arguments."""
        gated = layer.describe(active, whole)
        self._owners += [layer, gated, x, y, active]
        self._operators.append(
            COperator(
                kind=GATED,
                shape=layer.geometry.c,
                x=address(x),
                y=address(y),
                scratch=address(layer.scratch),
                gated=ctypes.addressof(gated),
            )
        )

    def add_move(self, source: int | None, first: int, target: int | None, size: int) -> None:
        """Add a copy of ``size`` bytes from the address ``source`` + ``first`` to the address ``target``."""
        runs = np.array([first, size], np.int32)
        self._owners.append(runs)
        self._operators.append(COperator(kind=MOVE, outputs=size, count=1, x=source, y=target, index=address(runs)))

    def add_all(self, operators: OperatorList) -> None:
        """Add the operators of a .tflite program."""
        self._owners.append(operators)
        self._operators += operators.operators

    def bind(self) -> Callable[[], object]:
        """Return a function that runs the operators."""
        array = (COperator * len(self._operators))(*self._operators)
        run = partial(self._library.function("run_ops"), ctypes.addressof(array), len(array))

        def call(_owners: tuple[Any, ...] = (array, self)) -> object:
            return run()

        return call
