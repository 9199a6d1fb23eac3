"""Firmware: a bundle as a folder of C99 sources that listens on a microcontroller."""

from gatesearch.export.firmware.project import Firmware, write_firmware

__all__ = ["Firmware", "write_firmware"]
