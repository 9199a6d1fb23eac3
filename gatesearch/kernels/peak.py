"""Loops that only multiply or only read memory: they measure a core's peak rates, with which kernels are compared."""

from __future__ import annotations

from typing import ClassVar

from gatesearch.kernels.base import Kernel
from gatesearch.kernels.library import ADDRESS, FLOAT, INT, INT32, SOURCES, Signatures


class PeakKernel(Kernel):
    """Three loops: products of bytes, products of floats, and reads of memory."""

    name = "peak"
    source = SOURCES / "peak.c"
    rank = 22
    signatures: ClassVar[Signatures] = {
        "peak_u8": (INT32, (INT, ADDRESS, ADDRESS)),
        "peak_f32": (FLOAT, (INT, ADDRESS, ADDRESS)),
        "peak_size": (None, (ADDRESS,)),
        "peak_read": (FLOAT, (ADDRESS, INT, INT)),
    }
