"""Measures firmware for a core: flash and RAM of the linked image, and the stack that it uses in an emulator."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gatesearch._lib import console
from gatesearch.export.firmware.make import TIMEOUT_S, make

EMULATED: Mapping[str, str] = {"cortex-m4": "qemu_m4", "cortex-m33": "qemu_m33", "cortex-m55": "qemu_m55"}
"""The cores that ``make size`` links for, and the target of the Makefile that emulates each."""

LINKER, EMULATOR = "arm-none-eabi-gcc", "qemu-system-arm"
_SIZE = re.compile(r"^(flash|RAM), (.+): (\d+) bytes$", re.M)
_STACK = re.compile(r"^stack: (\d+) bytes$", re.M)
_TOGETHER = "together"


@dataclass(frozen=True, slots=True)
class ImageSize:
    """The memory of an image that holds nothing but the firmware.

    Args:
        core: the core, as compilers name it.
        flash, ram: bytes by part; all bytes of the image are among them.
        stack: bytes of stack that the golden vectors use; None if no emulator measured them.
    """

    core: str
    flash: Mapping[str, int]
    ram: Mapping[str, int]
    stack: int | None

    @property
    def flash_bytes(self) -> int:
        """All bytes of flash."""
        return sum(self.flash.values())

    @property
    def ram_bytes(self) -> int:
        """All bytes of RAM, without the stack."""
        return sum(self.ram.values())

    def describe(self) -> str:
        """Return one line with the three sizes.

        >>> ImageSize("cortex-m4", {"code": 2048}, {"ring": 1024}, stack=512).describe()
        'firmware: linked for a cortex-m4: 2.0 KiB of flash, 1.0 KiB of RAM, 0.5 KiB of stack'
        """
        stack = "unknown" if self.stack is None else f"{self.stack / 1024:.1f} KiB of"
        return (
            f"firmware: linked for a {self.core}: {self.flash_bytes / 1024:.1f} KiB of flash, "
            f"{self.ram_bytes / 1024:.1f} KiB of RAM, {stack} stack"
        )


def measure_images(folder: Path, cores: Sequence[str]) -> tuple[ImageSize, ...]:
    """Link the firmware in a folder for some cores, and play its golden vectors in QEMU to measure its stack.

    A warning says what could not be measured: a tool is missing, or a build fails.

    Args:
        folder: the firmware; build outputs are removed afterwards.
        cores: names among :data:`EMULATED`.
    """
    if not cores:
        return ()
    if shutil.which("make") is None or shutil.which(LINKER) is None:
        console.warn(f"firmware: flash, RAM and stack not measured: needs make and {LINKER}")
        return ()
    if shutil.which(EMULATOR) is None:
        console.warn(f"firmware: stack not measured: needs {EMULATOR}")
    images = [image for core in cores if (image := _measure(folder, core)) is not None]
    shutil.rmtree(folder / "build", ignore_errors=True)
    return tuple(images)


def _measure(folder: Path, core: str) -> ImageSize | None:
    text = _make(folder, "size", f"CPU={core}")
    if text is None:
        return None
    sizes: dict[str, dict[str, int]] = {"flash": {}, "RAM": {}}
    for memory, part, count in _SIZE.findall(text):
        if part != _TOGETHER:
            sizes[memory][part] = int(count)
    emulation = _make(folder, EMULATED[core]) if shutil.which(EMULATOR) else None
    stack = None if emulation is None else _STACK.search(emulation)
    return ImageSize(core, sizes["flash"], sizes["RAM"], None if stack is None else int(stack[1]))


def _make(folder: Path, *arguments: str) -> str | None:
    """Return the output of make; None, with a warning, if it fails."""
    outcome = make(folder, *arguments)
    if outcome is None:
        console.warn(f"firmware: make {' '.join(arguments)} took more than {TIMEOUT_S} s")
        return None
    if outcome.failed:
        console.warn(f"firmware: make {' '.join(arguments)}: {outcome.reason}")
        return None
    return "\n".join(outcome.lines)
