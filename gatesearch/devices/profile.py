"""Device profiles: cores, the links between them, and constants with the origin of each.

A profile is a YAML file. Every number that enters a latency or an energy is written as
``{value, unit, provenance, source}``. :data:`PROVENANCES` lists the words for a provenance; the source is a sentence
that says where the number comes from. Shipped profiles lie in ``gatesearch/devices/profiles``. Other packages can add
profiles as entry points of the group ``gatesearch.devices``; each entry point is the path of a YAML file.
"""

from gatesearch.devices.clocks import ClockPoint, Clocks, ClockSlot, clock_choices
from gatesearch.devices.constants import PROVENANCES, Constant, Provenance, list_constants, path_segment
from gatesearch.devices.core import Core, Kernels, Memory
from gatesearch.devices.device import Device, Link, Sense, list_clock_points, list_clock_slots
from gatesearch.devices.loader import ENTRY_POINTS, find_file, load, names, shipped
from gatesearch.devices.timing import Instructions, LiteRT, Measured, Throughput, Timing, Vela

__all__ = [
    "ENTRY_POINTS",
    "PROVENANCES",
    "ClockPoint",
    "ClockSlot",
    "Clocks",
    "Constant",
    "Core",
    "Device",
    "Instructions",
    "Kernels",
    "Link",
    "LiteRT",
    "Measured",
    "Memory",
    "Provenance",
    "Sense",
    "Throughput",
    "Timing",
    "Vela",
    "clock_choices",
    "find_file",
    "list_clock_points",
    "list_clock_slots",
    "list_constants",
    "load",
    "names",
    "path_segment",
    "shipped",
]
