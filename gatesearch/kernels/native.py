"""The compiled kernels as Python sees them: found once, chosen by what the CPU has, called through ctypes."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Mapping, Sequence
from ctypes import POINTER, c_char_p, c_float, c_int, c_int32, c_size_t, c_void_p
from pathlib import Path
from typing import Any

from gatesearch._lib import console
from gatesearch.kernels import build


class Shape(ctypes.Structure):
    """``gs_conv`` of gs.h."""

    _fields_ = tuple(
        (name, c_int32)
        for name in (
            *("h", "w", "c_in", "c_out", "kh", "kw"),
            *("stride_h", "stride_w", "pad_h", "pad_w", "dilation_h", "dilation_w"),
        )
    )


class Op(ctypes.Structure):
    """``gs_op`` of kernels.h."""

    _fields_ = (
        *((name, c_int32) for name in ("kind", "zero", "zero_out", "outputs", "count")),
        ("shape", Shape),
        *((name, c_void_p) for name in ("x", "y", "weights", "sums", "bias", "index", "scale", "shift", "scratch")),
        ("table", c_void_p),
    )


class Stream(ctypes.Structure):
    """``gs_stream`` of kernels.h."""

    _fields_ = (
        ("ops", c_void_p),
        *((name, c_int32) for name in ("n_ops", "size", "n", "threshold")),
        *((name, c_void_p) for name in ("windows", "room", "logit", "passed")),
    )


class Mel(ctypes.Structure):
    """``gs_mel`` of kernels.h."""

    _fields_ = (
        *((name, c_int32) for name in ("fft", "frame", "stride", "bins", "mels", "features")),
        ("steps", c_float),
        *((name, c_void_p) for name in ("window", "turn", "split", "first", "starts")),
        *((name, c_void_p) for name in ("weights", "dct", "mean", "std")),
    )


class Fbs(ctypes.Structure):
    """``gs_fbs`` of kernels.h."""

    _fields_ = (
        *((name, c_void_p) for name in ("phi", "rho", "slope", "offset", "beta")),
        *((name, c_int32) for name in ("winners", "block")),
    )


class Split(ctypes.Structure):
    """``gs_split`` of kernels.h."""

    _fields_ = (
        *((name, c_void_p) for name in ("taps", "sums", "threshold")),
        *((name, c_float) for name in ("step", "top", "level")),
        *((name, c_int32) for name in ("low_bits", "group", "wide", "sign")),
    )


class Pg(ctypes.Structure):
    """``gs_pg`` of kernels.h."""

    _fields_ = (
        *((name, c_void_p) for name in ("packed", "sums", "rows", "limit", "single", "bias")),
        ("level", c_float),
        *((name, c_int32) for name in ("bytes", "low_bits", "group", "split")),
    )


class Matrix(ctypes.Structure):
    """``gs_matrix`` of kernels.h."""

    _fields_ = (
        *((name, c_int32) for name in ("kind", "gates", "height", "columns", "rich", "parts")),
        *((name, c_void_p) for name in ("packed", "down", "values", "indices", "starts")),
    )


class MatrixU8(ctypes.Structure):
    """``gs_matrix_u8`` of kernels.h."""

    _fields_ = (
        *((name, c_int32) for name in ("kind", "gates", "height", "columns", "rich", "parts", "zero")),
        *((name, c_void_p) for name in ("packed", "sums", "scale", "middle", "down")),
    )


class Tables(ctypes.Structure):
    """``gs_tables`` of kernels.h."""

    _fields_ = (("sigmoid", c_void_p), ("tanh", c_void_p))


_S, _P, _I, _F, _N = POINTER(Shape), c_void_p, c_int, c_float, c_size_t
# What each function of kernels.h returns, and takes.
SIGNATURES: Mapping[str, tuple[Any, Sequence[Any]]] = {
    "conv_f32_size": (_N, (_S,)),
    "conv_f32_pack": (None, (_S, _P, _P)),
    "conv_f32_scratch": (_N, (_S,)),
    "conv_f32": (None, (_S, _P, _P, _I, _P, _P, _I, _P, _P, _I, _P, _P)),
    "conv_u8_size": (_N, (_S,)),
    "conv_u8_pack": (None, (_S, _P, _P, _P)),
    "conv_u8_scratch": (_N, (_S,)),
    "conv_u8": (None, (_S, _P, _I, _P, _I, _P, _P, _P, _I, _P, _P, _P, _I, _I, _P, _P)),
    "depthwise_u8": (None, (_S, _P, _I, _P, _P, _P, _I, _P)),
    "hear": (_I, (_P, c_char_p)),
    "pool_window_u8": (None, (_S, _P, _I, _P)),
    "sum_u8": (None, (_P, _P, _I, _F, _F, _F, _P)),
    "stream": (_I, (_P,)),
    "fbs_scratch": (_N, (_S,)),
    "fbs_f32": (None, (_S, POINTER(Fbs), _P, _P, _I, _P, _I, _P, _P, _P)),
    "fbs_u8": (None, (_S, POINTER(Fbs), _P, _F, _P, _I, _P, _P, _F, _P, _F, _P, _P, _P)),
    "fbs_single_scratch": (_N, (_S,)),
    "fbs_single": (None, (_S, POINTER(Fbs), _P, _P, _I, _I, _P, _I, _I, _P, _P, _P)),
    "fbs_pg_scratch": (_N, (_S, _I)),
    "fbs_pg": (_I, (_S, POINTER(Fbs), POINTER(Split), _P, _P, _I, _I, _I, _I, _P, _P, _P)),
    "pg_rows_size": (_N, (_S,)),
    "pg_rows": (None, (_S, _P, _P)),
    "pg_scratch": (_N, (_S,)),
    "pg": (_I, (_S, POINTER(Pg), _P, _P, _P, _P, _P)),
    "pg_dense": (None, (_S, POINTER(Pg), _P, _P, _P)),
    "step_scratch": (_N, (POINTER(Matrix), POINTER(Matrix))),
    "lstm_step": (None, (POINTER(Matrix), POINTER(Matrix), _P, _P, _P, _P, _P)),
    "gru_step": (None, (POINTER(Matrix), POINTER(Matrix), _P, _P, _P, _P, _P)),
    "step_u8_scratch": (_N, (POINTER(MatrixU8), POINTER(MatrixU8))),
    "lstm_step_u8": (None, (POINTER(MatrixU8), POINTER(MatrixU8), POINTER(Tables), _P, _P, _P, _P, _P)),
    "gru_step_u8": (None, (POINTER(MatrixU8), POINTER(MatrixU8), POINTER(Tables), _P, _P, _P, _P, _P)),
    "recurrence": (None, (POINTER(Matrix), POINTER(Matrix), _P, _P, _P, _I, _I, _P, _P, _P, _I, _P)),
    "levels_f32": (None, (_P, _I, _F, _F, _I, _P)),
    "spread_f32": (None, (_P, _I, _I, _F, _F, _I, _I, _I, _I, _P)),
    "affine_f32": (None, (_P, _I, _I, _P, _P, _I)),
    "clear_f32": (None, (_P, _I, _I, _P, _I)),
    "pool_f32": (None, (_P, _I, _I, _P, _I, _P, _P)),
    "pool_u8": (None, (_P, _I, _I, _P, _I, _P, _P)),
    "gate_f32": (_F, (_P, _I, _I, _P, _P, _F, _P)),
    "mel_scratch": (_N, (_P,)),
    "mel": (None, (_P, _P, _I, _P, _P)),
    "mel_stream": (None, (_P, c_char_p, _I, _P, _I, _P, _P)),
    "peak_u8": (c_int32, (_I, _P, _P)),
    "peak_f32": (_F, (_I, _P, _P)),
    "peak_size": (None, (_P,)),
    "peak_read": (_F, (_P, _I, _I)),
    "winners": (None, (_P, _I, _I, _P)),
    "keep_channels": (None, (_P, _I, _I, _P, _I, _I, _P)),
    "keep_nonzero": (_I, (_P, _I, _P, _P)),
    "spread_nonzero": (None, (_P, _P, _I, _P)),
}


class Library:
    """The kernels for one instruction set.

    Args:
        path: of the shared library.
        instructions: the set; None is the best that this CPU has.

    Raises:
        ValueError: the set was not compiled, or the CPU does not have it.
    """

    def __init__(self, path: Path, instructions: str | None = None) -> None:
        self.path = path
        self._library = ctypes.CDLL(str(path))
        self._library.gs_sets.restype = c_char_p
        compiled = self._library.gs_sets().decode().split(",")
        self.available = tuple(name for name in compiled if self._library.gs_supports(name.encode()))
        if instructions is not None and instructions not in self.available:
            raise ValueError(f"instruction set {instructions!r}: this CPU has {', '.join(self.available)}")
        self.instructions = instructions or self.available[0]

    @functools.cache  # noqa: B019 - libraries live as long as the process
    def function(self, name: str) -> Callable[..., Any]:
        """Return a function of kernels.h by its name without prefix and suffix."""
        found = getattr(self._library, f"gs_{name}_{self.instructions}")
        found.restype, found.argtypes = SIGNATURES[name]
        return found


@functools.cache
def load(instructions: str | None = None) -> Library | None:
    """Return the kernels, compiled where need be; None where they cannot be, which is said once on standard error.

    Raises:
        ValueError: the CPU does not have the instruction set.
    """
    try:
        return Library(build.library(), instructions)
    except build.BuildError as error:
        console.console(stderr=True).print(_without(error), soft_wrap=True)
        return None


def status() -> str:
    """Return in one line what kernels run on."""
    try:
        compiler = build.Compiler.find()
        return f"kernels: {Library(build.library(compiler)).instructions}, compiled by {compiler.version}"
    except build.BuildError as error:
        return _without(error)


def _without(error: build.BuildError) -> str:
    return f"kernels: {error}; the torch reference runs in their place, slower"
