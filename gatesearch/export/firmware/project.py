"""Writes the firmware of a bundle: a folder of C99 sources that builds by itself."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from gatesearch._lib.files import write_whole
from gatesearch._lib.plugins import need
from gatesearch.errors import UserError
from gatesearch.export.firmware.image import ImageSize, measure_images
from gatesearch.export.firmware.plan_source import PlanText, write_plan
from gatesearch.export.firmware.vectors import choose_stretch, make_noise, trace_hops, vectors_text
from gatesearch.export.source_folder import check_replaceable, render, replaced_folder, write_sums
from gatesearch.kernels import native
from gatesearch.kernels.arrays import Array
from gatesearch.kernels.library import SOURCES
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.manifest import load_manifest
from gatesearch.runtime.open_listener import HOST_ENGINE

C_SOURCES = Path(__file__).parent / "c"
RUNNER = Path(__file__).parents[2] / "cost" / "sources" / "board" / "runner"
LICENCE = "Apache-2.0"
# The files of a firmware folder, by path, and their sources in C_SOURCES.
PLACES: Mapping[str, str] = {
    "include/gatesearch.h": "gatesearch.h",
    "src/gatesearch.c": "gatesearch.c",
    "src/gs_chain.h": "gs_chain.h",
    "src/kernels.c": "kernels.c",
    "src/no_fused.h": "no_fused.h",
    "test/check.c": "project/check.c",
    "test/startup.c": "project/startup.c",
    "test/size.awk": "project/size.awk",
    "examples/listen.c": "examples/listen.c",
    "examples/wav.h": "examples/wav.h",
    "examples/serial/board.c": "examples/board.c",
    "examples/serial/stream.py": "examples/stream.py",
    "examples/zephyr/main.c": "examples/zephyr_main.c",
    "examples/arduino/gatesearch_sketch.ino": "examples/gatesearch_sketch.ino",
    "Makefile": "project/Makefile",
    "CMakeLists.txt": "project/CMakeLists.txt",
    "zephyr/module.yml": "project/zephyr/module.yml",
    "zephyr/Kconfig": "project/zephyr/Kconfig",
    "zephyr/CMakeLists.txt": "project/zephyr/CMakeLists.txt",
}
CLOCK: Mapping[str, str] = {"test/clock.c": "clock_cortex_m.c", "test/clock.h": "clock.h"}
TEMPLATES: Mapping[str, str] = {
    "README.md": "project/README.md.j2",
    "library.properties": "project/library.properties.j2",
    "gatesearch.pdsc": "project/gatesearch.pdsc.j2",
}
GENERATED = ("src/gs_plan.c", "src/gs_plan.h", "test/vectors.h")
BUILT = ("listen", "board")  # programs that the Makefile builds
_INCLUDE = re.compile(r'^#(?:include|define GS_[A-Z]+_FILE) "([^"]+)"', re.M)  # instruction sets define names of files
_NOT_NEEDED = {
    "kit.h",
    "gs_plan.h",
    "no_fused.h",
}  # programs that time kernels include the first; a plan has the second


@dataclass(frozen=True, slots=True)
class Firmware:
    """A written firmware folder.

    Args:
        folder: the folder.
        flash, ram: bytes of constants and of working memory, by part; code and stack are not among them.
        hops: number of hops in the golden vectors.
        detections: number of detections in the golden vectors.
        images: the linked image for each measured core.
    """

    folder: Path
    flash: Mapping[str, int]
    ram: Mapping[str, int]
    hops: int
    detections: int
    images: tuple[ImageSize, ...] = ()

    def describe(self) -> str:
        """Return a line with the folder, its memory and the number of golden hops, and a line for each image."""
        head = (
            f"firmware: {self.folder}: {sum(self.flash.values()) / 1024:.1f} KiB of constants, "
            f"{sum(self.ram.values()) / 1024:.1f} KiB of RAM; {self.hops} golden hops, {self.detections} detections"
        )
        return "\n".join([head, *(image.describe() for image in self.images)])


def write_firmware(bundle: Path, folder: Path, sound: Array | None = None, cores: Sequence[str] = ()) -> Firmware:
    """Write the firmware of a bundle; an older folder is replaced once the new one is complete.

    Args:
        bundle: the folder of a bundle of a run with goal detection.
        folder: the folder to write.
        sound: sound of the test stream, from which golden vectors are taken, int16 [n]; None for seeded noise.
        cores: the cores for which the linked image is measured, see :func:`~gatesearch.export.firmware.image`.

    Raises:
        UserError: the bundle has no detector, or a part of it has no kernel; or this host has no C compiler; or the
            folder holds files that are not firmware.
    """
    own = {*PLACES, *CLOCK, *TEMPLATES, *BUILT, *GENERATED}
    check_replaceable("firmware", folder, own, ("build/", "kernels/"))
    need("firmware", "jinja2")
    library = native.load()
    if library is None:
        raise UserError("firmware: packing weights needs a C compiler on this machine")
    manifest = load_manifest(bundle)
    opened = Bundle(bundle, {stage["core"]: HOST_ENGINE for stage in manifest["stages"]})
    text = write_plan(opened, library)
    stretch = choose_stretch(opened, make_noise() if sound is None else sound)
    vectors = trace_hops(opened, stretch)
    with replaced_folder(folder) as part:
        for name, content in _files(text):
            write_whole(part / name, content)
        write_whole(part / "test" / "vectors.h", vectors_text(stretch, vectors))
        images = measure_images(part, cores)
        for name, content in _rendered(manifest["digest"], text, images):
            write_whole(part / name, content)
        write_sums(part)
    detections = sum(vector.label >= 0 for vector in vectors)
    return Firmware(folder, text.flash, text.ram, hops=len(vectors), detections=detections, images=images)


def _files(text: PlanText) -> Iterator[tuple[str, str]]:
    """Yield the name and content of each file without a template: the library, the kernels and the plan."""
    for name, source in PLACES.items():
        yield name, (C_SOURCES / source).read_text()
    for name, source in CLOCK.items():
        yield name, (RUNNER / source).read_text()
    for path in kernel_files():
        yield f"kernels/{path.name}", path.read_text()
    yield "src/gs_plan.c", text.source
    yield "src/gs_plan.h", text.header


def kernel_files() -> list[Path]:
    """Return the kernels' source files that kernels.c includes, directly or through other files."""
    files: dict[str, Path] = {}
    waiting = _INCLUDE.findall((C_SOURCES / "kernels.c").read_text())
    while waiting:
        name = waiting.pop()
        if name not in files and name not in _NOT_NEEDED:
            files[name] = SOURCES / name
            waiting += _INCLUDE.findall(files[name].read_text())
    return [files[name] for name in sorted(files)]


def _rendered(digest: str, text: PlanText, images: Sequence[ImageSize]) -> Iterator[tuple[str, str]]:
    plan = hashlib.sha256(text.source.encode()).hexdigest()
    values = {
        "version": metadata.version("gatesearch"),
        "digest": digest,
        "sha256": plan,
        "flash": text.flash,
        "ram": text.ram,
        "images": images,
        "licence": LICENCE,
    }
    for name, template in TEMPLATES.items():
        yield name, render(C_SOURCES, template, values)
