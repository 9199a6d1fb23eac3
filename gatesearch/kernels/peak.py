"""Loops that do nothing but multiply or read: what a core can do at most, to hold kernels against."""

from __future__ import annotations

from typing import ClassVar

from gatesearch.kernels.base import Kernel
from gatesearch.kernels.library import ADDRESS, FLOAT, INT, INT32, SOURCES, Signatures


class PeakKernel(Kernel):
    """Products of bytes and of floats, and reads, in a loop."""

    name = "peak"
    source = SOURCES / "peak.c"
    rank = 22
    signatures: ClassVar[Signatures] = {
        "peak_u8": (INT32, (INT, ADDRESS, ADDRESS)),
        "peak_f32": (FLOAT, (INT, ADDRESS, ADDRESS)),
        "peak_size": (None, (ADDRESS,)),
        "peak_read": (FLOAT, (ADDRESS, INT, INT)),
    }
