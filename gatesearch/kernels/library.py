"""The shared library of compiled kernels, and the ctypes types of their arguments."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Mapping, Sequence
from ctypes import POINTER, c_char_p, c_float, c_int, c_int32, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parent / "src"
# The type of the result of a C function (None: no result), and the types of its arguments.
Signature = tuple[Any, Sequence[Any]]
Signatures = Mapping[str, Signature]


class Shape(ctypes.Structure):
    """The C struct ``gs_conv`` of gs.h: the geometry of a convolution."""

    _fields_ = tuple(
        (name, c_int32)
        for name in (
            "h",
            "w",
            "c_in",
            "c_out",
            "kh",
            "kw",
            "stride_h",
            "stride_w",
            "pad_h",
            "pad_w",
            "dilation_h",
            "dilation_w",
        )
    )


# Types of arguments: a pointer to a shape, any other pointer, an int, a float, a size. INT32 and INT64 are results.
SHAPE, ADDRESS, INT, FLOAT, SIZE = POINTER(Shape), c_void_p, c_int, c_float, c_size_t
INT32, INT64 = c_int32, c_int64


class Library:
    """The kernels for one instruction set.

    Args:
        path: the path of the shared library.
        signatures: result and argument types of each function, by its name without prefix and suffix.
        instructions: the instruction set; None means the best one of this CPU.

    Raises:
        ValueError: the library has no kernels for this instruction set, or the CPU does not have it.
    """

    def __init__(self, path: Path, signatures: Signatures, instructions: str | None = None) -> None:
        self.path, self._signatures = path, signatures
        self._library = ctypes.CDLL(str(path))
        self._library.gs_sets.restype = c_char_p
        compiled = self._library.gs_sets().decode().split(",")
        self.available = tuple(name for name in compiled if self._library.gs_supports(name.encode()))
        if instructions is not None and instructions not in self.available:
            raise ValueError(f"instruction set {instructions!r}: this CPU has {', '.join(self.available)}")
        self.instructions = instructions or self.available[0]

    @functools.cache  # noqa: B019 - libraries live as long as the process
    def function(self, name: str) -> Callable[..., Any]:
        """Return a C function by its name without prefix and suffix, with the types of its signature."""
        function = getattr(self._library, f"gs_{name}_{self.instructions}")
        function.restype, function.argtypes = self._signatures[name]
        return function


def bind_call(function: Callable[..., None], arguments: tuple[Any, ...], *owners: Any) -> Callable[[], None]:
    """Return a function without arguments that calls ``function``.

    Args:
        function: a function of a library.
        arguments: numbers and addresses.
        owners: the objects whose memory the addresses point to; the returned function keeps them alive.
    """

    def call(_owners: tuple[Any, ...] = owners) -> None:
        function(*arguments)

    return call
