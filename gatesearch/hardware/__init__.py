"""Device profiles, cost of stages on their cores, and running stages on the host.

Conversion (:mod:`gatesearch.compile.tflite`), the NPU compiler (:mod:`gatesearch.compile.vela`) and timing
are modules of their own: they load heavy libraries when they are used.
"""

from __future__ import annotations

from gatesearch.cost.energy import (
    EnergyBreakdown,
    StageCost,
    expected_energy,
    expected_latency_us,
    front_end_bound,
    gain_end_to_end,
    gain_paper_style,
    link_bits,
    longest_latency_us,
    reach,
)
from gatesearch.devices.profile import Constant, Core, Device, Link, Memory, Sense, constants, load, names

__all__ = [
    "Constant",
    "Core",
    "Device",
    "EnergyBreakdown",
    "Link",
    "Memory",
    "Sense",
    "StageCost",
    "constants",
    "expected_energy",
    "expected_latency_us",
    "front_end_bound",
    "gain_end_to_end",
    "gain_paper_style",
    "link_bits",
    "load",
    "longest_latency_us",
    "names",
    "reach",
]
