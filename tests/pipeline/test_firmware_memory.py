"""A core with too little flash or RAM for firmware is named, with numbers by part."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.devices import profile
from gatesearch.devices.profile import Core
from gatesearch.export.firmware import Firmware
from gatesearch.export.firmware.image import ImageSize
from gatesearch.pipeline.firmware_memory import describe_shortages

PARTS = st.dictionaries(st.sampled_from(["ring", "arena", "code", "weights", "x", "y"]), st.integers(1, 1 << 20))


def build_core(flash_kib: float, sram_kib: float) -> Core:
    core = profile.load("three_core").core("mcu")
    return core.model_copy(
        update={"memory": core.memory.model_copy(update={"flash_kib": flash_kib, "sram_kib": sram_kib})}
    )


@given(flash=PARTS, ram=PARTS, stack=st.integers(0, 5000), flash_kib=st.integers(1, 999), sram_kib=st.integers(1, 999))
def test_a_line_appears_exactly_where_the_image_is_larger(
    flash: dict[str, int], ram: dict[str, int], stack: int, flash_kib: int, sram_kib: int
) -> None:
    images = (ImageSize("cortex-m4", flash, ram, stack), ImageSize("cortex-m55", {"code": 1 << 30}, {}, None))
    firmware = Firmware(Path("fw"), {}, {}, hops=1, detections=0, images=images)
    lines = describe_shortages(build_core(flash_kib, sram_kib), firmware)
    assert any("KiB of flash" in line for line in lines) == (sum(flash.values()) > 1024 * flash_kib)
    assert any("KiB of SRAM" in line for line in lines) == (sum(ram.values()) + stack > 1024 * sram_kib)


def test_the_line_names_the_largest_parts() -> None:
    image = ImageSize("cortex-m4", {"code": 1024}, {"ring": 32768, "arena": 20480, "a": 512, "b": 256, "c": 128}, 3072)
    firmware = Firmware(Path("fw"), {}, {}, hops=1, detections=0, images=(image,))
    assert describe_shortages(build_core(64, 48), firmware) == [
        "firmware: core mcu has 48 KiB of SRAM; the firmware takes 55.9 KiB: ring 32.0, arena 20.0, stack 3.0, a 0.5, "
        "the rest 0.4"
    ]


@pytest.mark.parametrize(("kib", "lines"), [(1, 2), (3, 0)])
def test_without_an_image_the_least_memory_is_compared(kib: int, lines: int) -> None:
    firmware = Firmware(Path("fw"), {"constants": 2048}, {"arena": 2048}, hops=1, detections=0)
    shortages = describe_shortages(build_core(kib, kib), firmware)
    assert len(shortages) == lines and all("takes at least 2.0 KiB" in line for line in shortages)
