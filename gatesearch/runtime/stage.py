"""Runs the first stage of a bundle, a small int8 .tflite program, with C kernels.

The first stage reads every window of a stream, so that its time counts most.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import addressof, c_char_p, c_int32, c_void_p
from functools import partial
from typing import Any, ClassVar

import numpy as np

from gatesearch.kernels.arrays import Array, address
from gatesearch.kernels.base import Kernel
from gatesearch.kernels.library import ADDRESS, INT, SOURCES, Library, Signatures
from gatesearch.runtime.stage_operators import SIGNED, OperatorList, Unsupported
from gatesearch.runtime.stage_program import add_operators


class CStream(ctypes.Structure):
    """The C struct ``gs_stream`` of kernels.h: the operators of a stage and the windows that they run on."""

    _fields_ = (
        ("ops", c_void_p),
        *((name, c_int32) for name in ("n_ops", "size", "n", "threshold")),
        *((name, c_void_p) for name in ("windows", "input", "logit", "passed")),
    )


class StageKernel(Kernel):
    """The C functions that run a whole stage: on one window (``hear``), on several (``stream``), by hops (``hops``)."""

    name = "stage"
    source = SOURCES / "stage.c"
    rank = 21
    signatures: ClassVar[Signatures] = {
        "hear": (INT, (ADDRESS, c_char_p)),
        "stream": (INT, (ADDRESS,)),
        "hops": (None, (ADDRESS, ADDRESS, INT, INT, ADDRESS)),
        "run_ops": (None, (ADDRESS, INT)),
    }


class Stage:
    """A stage of convolutions, poolings and moves of data with a gate, which runs on windows of a stream.

    Its output equals LiteRT's bit for bit if LiteRT rounds as XNNPACK does on x86.

    Args:
        model: content of an int8 .tflite file with one input.
        logit: name of the tensor of one value that is compared with the threshold.
        passed: name of the tensor that goes on to the next stage.
        library: the C kernels that run the stage.

    Attributes:
        size: number of values in a window.
        whole: whether the tensor that goes on is the window itself.

    Raises:
        Unsupported: no kernel computes one of the operators.
    """

    def __init__(self, model: bytes, logit: str, passed: str, library: Library) -> None:
        self._list = operators = OperatorList(model, library)
        self.size = operators.new(int(operators.graph.inputs[0])).places.size
        add_operators(operators)
        end = operators.contiguous(operators.tensors[operators.find(logit)].places)
        if end.size != 1:
            raise Unsupported(f"logit of {end.size} values")
        self._logit = int(end.flat[0])
        self._passed = operators.tensors[operators.find(passed)].places
        self.whole = np.array_equal(self._passed.ravel(), np.arange(self.size))
        self._program = operators.as_array()

    def hear(self, threshold: int) -> Callable[[bytes], int]:
        """Return a function that runs a window and returns whether its logit is above the threshold.

        The function takes the window's bytes, int8 in the order of the input. It does not check that the window has
        :attr:`size` bytes. C reads a bytes object directly. The address of an array would have to be looked up, which
        takes half as long as a gate.

        Args:
            threshold: the threshold, as an int8 value of the program's logit.
        """
        stream = self._stream(0, threshold, None, None)
        self._list.owners.append(stream)
        return partial(self._list.library.function("hear"), addressof(stream))

    def bind(self, windows: Array, threshold: int, passed: Array) -> Callable[[], int]:
        """Return a function that runs windows one by one and returns the number of those above the threshold.

        Args:
            windows: the windows, int8 [n, ...], contiguous; the function reads them at each call.
            threshold: the threshold, as an int8 value of the program's logit.
            passed: int32 [n]; the function writes the indices of the windows above the threshold here.
        """
        function, n = self._list.library.function("stream"), len(windows)
        if windows.dtype != np.int8 or windows.size != n * self.size or not windows.flags.c_contiguous:
            raise ValueError(f"windows must be int8 of {self.size} values each, found {windows.dtype} {windows.shape}")
        if passed.dtype != np.int32 or passed.shape != (n,):
            raise ValueError(f"passed must be int32 [{n}], found {passed.dtype} {list(passed.shape)}")
        stream = self._stream(n, threshold, windows, passed)
        stream_address = addressof(stream)

        def call(_owners: tuple[Any, ...] = (stream, windows, passed, self)) -> int:
            return function(stream_address)

        return call

    def _stream(self, n: int, threshold: int, windows: Array | None, passed: Array | None) -> CStream:
        memory = self._list.address
        return CStream(
            ops=addressof(self._program),
            n_ops=len(self._list.operators),
            size=self.size,
            n=n,
            threshold=threshold,
            windows=address(windows),
            input=memory,
            logit=memory + self._logit,
            passed=address(passed),
        )

    def logit(self) -> int:
        """Return the logit of the last window."""
        return int(self._list.buffer[self._logit]) - SIGNED

    def passed(self) -> Array:
        """Return the tensor that goes on from the last window, int8 in the tensor's shape."""
        return (self._list.buffer[self._passed] ^ SIGNED).view(np.int8)
