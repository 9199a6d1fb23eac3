"""Flash, RAM and stack of firmware are those of the linked image; tools that are missing are named."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from gatesearch._lib import console
from gatesearch.export.firmware import Firmware, image
from gatesearch.export.firmware.image import EMULATED, measure_images

HAS_ARM = bool(shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm"))


@pytest.fixture(scope="module")
def folder(small_firmware: Firmware, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(small_firmware.folder, tmp_path_factory.mktemp("image") / "fw"))


@pytest.mark.slow
@pytest.mark.skipif(not HAS_ARM, reason="needs arm-none-eabi-gcc and qemu-system-arm")
@pytest.mark.parametrize("core", EMULATED)
def test_printed_flash_and_ram_are_those_of_the_linked_image(folder: Path, core: str) -> None:
    subprocess.run(["make", "-s", "size", f"CPU={core}"], cwd=folder, check=True, capture_output=True)
    command = ["arm-none-eabi-size", f"build/{core}/image.elf"]
    sizes = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.splitlines()[1]
    text, data, bss = map(int, sizes.split()[:3])
    [measured] = measure_images(folder, [core])
    assert (measured.flash_bytes, measured.ram_bytes) == (text + data, data + bss)
    assert measured.stack is not None and 200 < measured.stack < 8192
    assert {"memory of stages, or samples", "state of the loop"} <= set(measured.ram)
    assert {"code of kernels", "weights and tables"} <= set(measured.flash)
    assert not (folder / "build").exists()


@pytest.mark.slow
@pytest.mark.skipif(not HAS_ARM, reason="needs arm-none-eabi-gcc and qemu-system-arm")
def test_cores_with_the_same_instructions_count_alike(folder: Path) -> None:
    """The timers of the two boards tick at different rates; the counts are of instructions on both."""
    counts = []
    for target in ("qemu_m4", "qemu_m33"):
        text = subprocess.run(["make", "-s", target], cwd=folder, check=True, capture_output=True, text=True).stdout
        counts.append(
            [int(line.split(": ")[1].split()[0]) for line in text.splitlines() if "instructions a hop" in line]
        )
    assert len(counts[0]) >= 3 and counts[0] == pytest.approx(counts[1], rel=0.05)


@pytest.mark.parametrize("tool", ["make", "arm-none-eabi-gcc", "qemu-system-arm"])
def test_a_missing_tool_is_a_warning(folder: Path, tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image.shutil, "which", lambda name: None if name == tool else f"/bin/{name}")
    monkeypatch.setattr(image, "_measure", lambda folder, core: None)
    with console.collect_warnings() as warnings:
        assert measure_images(folder, ["cortex-m4"]) == ()
    assert len(warnings) == 1 and tool in warnings[0] and "not measured" in warnings[0]


def test_a_build_that_fails_is_a_warning(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "Makefile").write_text("size:\n\t@echo 'error: broken'; false\n")
    monkeypatch.setattr(image.shutil, "which", lambda name: f"/bin/{name}")
    with console.collect_warnings() as warnings:
        assert measure_images(copy, ["cortex-m4"]) == ()
    assert warnings == ["firmware: make size CPU=cortex-m4: error: broken"]
