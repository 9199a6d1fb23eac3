"""Compares the memory of firmware with the memory of the core that runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gatesearch.devices.profile import Core
from gatesearch.export.firmware import Firmware
from gatesearch.export.firmware.image import EMULATED, ImageSize

KIB = 1024
MAX_PARTS = 4  # parts of a memory that a line names, the largest first


def list_image_cores(core: Core) -> tuple[str, ...]:
    """Return the cores for which firmware is linked and emulated: its own core if that is possible, else all.

    >>> from gatesearch.devices import profile
    >>> list_image_cores(profile.load("stm32u385").core("m33")), len(list_image_cores(profile.load("ndp120").cores[0]))
    (('cortex-m33',), 3)
    """
    own = _name_core(core)
    return (own,) if own in EMULATED else tuple(EMULATED)


def describe_shortages(core: Core, firmware: Firmware) -> list[str]:
    """Return a line for each memory of a core that is too small for the firmware, with its largest parts.

    Flash and RAM are those of the linked image for this core, or of the largest image that was linked. Without an
    image, they are the plan's constants and its working memory alone, which is the least that it needs.

    Args:
        core: the core of the front end, which runs the whole firmware.
        firmware: the written firmware.
    """
    image = _choose_image(core, firmware.images)
    if image is None:
        flash, ram, least = dict(firmware.flash), dict(firmware.ram), "at least "
    else:
        flash, ram, least = dict(image.flash), {**image.ram, "stack": image.stack or 0}, ""
    needs = {"flash": (flash, core.memory.flash_kib), "SRAM": (ram, core.memory.sram_kib)}
    return [
        f"firmware: core {core.name} has {kib:g} KiB of {name}; the firmware takes {least}"
        f"{sum(parts.values()) / KIB:.1f} KiB: {_list_parts(parts)}"
        for name, (parts, kib) in needs.items()
        if sum(parts.values()) > kib * KIB
    ]


def _choose_image(core: Core, images: Sequence[ImageSize]) -> ImageSize | None:
    own = [image for image in images if image.core == _name_core(core)]
    return max(own or images, key=lambda image: image.flash_bytes + image.ram_bytes, default=None)


def _name_core(core: Core) -> str:
    """Return the name that compilers have for a core with a kernel table; empty for another core."""
    return (getattr(core.timing, "table", None) or "").replace("_", "-")


def _list_parts(parts: Mapping[str, int]) -> str:
    largest = sorted(parts.items(), key=lambda item: -item[1])
    shares = [f"{name} {size / KIB:.1f}" for name, size in largest[:MAX_PARTS]]
    rest = sum(size for _, size in largest[MAX_PARTS:])
    return ", ".join([*shares, *([f"the rest {rest / KIB:.1f}"] if rest else [])])
