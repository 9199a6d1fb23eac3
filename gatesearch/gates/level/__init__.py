"""The level gate: it stops a window by one statistic of its samples, before any front end.

Engineers try such a gate first, and a gate with a trained head has to beat it. There are three statistics. A gate
compares one of them with one threshold:

    spread    standard deviation over frames of log2(sum |x|), x: the samples of a frame
    level     mean over frames of log2(sum |x|)
    flatness  log2 of (arithmetic mean / geometric mean) of |re| + |im|, from a short Fourier transform

The statistics were compared on Speech Commands and on ESC-10 (environmental sounds), each with the threshold that 99 %
of 1,621 spoken words exceed. Of 320 clips of background noise, spread stops 94 %, flatness 90 % and level 5 %. Of all
seconds of sound in ESC-10, spread stops 47 %, flatness 27 % and level 6 %.

:mod:`gatesearch.gates.level.statistics` computes the statistics in integer arithmetic, as the reference for devices.
The gate computes the same statistics in float, as a module that can be exported. :mod:`gatesearch.gates.level.hops`
computes them at each hop of a stream.
"""

from gatesearch.gates.level.gate import LevelGate
from gatesearch.gates.level.hops import SignalFormat, SignalStream, signal_frame, signal_statistics
from gatesearch.gates.level.kind import Level, LevelParams
from gatesearch.gates.level.statistics import (
    FRACTION_BITS,
    STATISTICS,
    flatness,
    integer_threshold,
    level,
    spread,
    window_statistic,
)

__all__ = [
    "FRACTION_BITS",
    "STATISTICS",
    "Level",
    "LevelGate",
    "LevelParams",
    "SignalFormat",
    "SignalStream",
    "flatness",
    "integer_threshold",
    "level",
    "signal_frame",
    "signal_statistics",
    "spread",
    "window_statistic",
]
