"""Writes the firmware of a bundle: a folder of C99 sources that builds by itself."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from gatesearch._lib.files import write_whole
from gatesearch._lib.plugins import need
from gatesearch.errors import UserError
from gatesearch.export.firmware.image import ImageSize, measure_images
from gatesearch.export.firmware.plan_source import PlanText, write_plan
from gatesearch.export.firmware.vectors import choose_stretch, trace_hops, vectors_text
from gatesearch.kernels import native
from gatesearch.kernels.arrays import Array
from gatesearch.kernels.library import SOURCES
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.manifest import load_manifest
from gatesearch.runtime.open_listener import HOST_ENGINE

C_SOURCES = Path(__file__).parent / "c"
RUNNER = Path(__file__).parents[2] / "cost" / "sources" / "board" / "runner"
LICENCE = "Apache-2.0"
NOISE_S = 4.0  # seconds of noise from which golden vectors are made if the caller has no sound
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
SUMS = "SHA256SUMS"
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
    _check_replaceable(folder)
    need("firmware", "jinja2")
    library = native.load()
    if library is None:
        raise UserError("firmware: packing weights needs a C compiler on this machine")
    manifest = load_manifest(bundle)
    opened = Bundle(bundle, {stage["core"]: HOST_ENGINE for stage in manifest["stages"]})
    text = write_plan(opened, library)
    stretch = choose_stretch(opened, _noise() if sound is None else sound)
    vectors = trace_hops(opened, stretch)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as place:
        part = Path(place) / "new"
        for name, content in _files(text):
            write_whole(part / name, content)
        write_whole(part / "test" / "vectors.h", vectors_text(stretch, vectors))
        images = measure_images(part, cores)
        for name, content in _rendered(manifest["digest"], text, images):
            write_whole(part / name, content)
        _write_sums(part)
        if folder.exists():
            folder.rename(Path(place) / "old")
        part.rename(folder)
    detections = sum(vector.label >= 0 for vector in vectors)
    return Firmware(folder, text.flash, text.ram, hops=len(vectors), detections=detections, images=images)


def _check_replaceable(folder: Path) -> None:
    """Refuse to replace a folder that holds other files than those of firmware and of its build."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"firmware: {folder}: is a file; wanted: a folder for the firmware")
    own = {*PLACES, *CLOCK, *TEMPLATES, *BUILT, SUMS, *GENERATED, *read_sums(folder)}
    for path in sorted(each for each in folder.rglob("*") if not each.is_dir()):
        name = path.relative_to(folder).as_posix()
        if name not in own and not name.startswith(("build/", "kernels/")):
            raise UserError(f"firmware: {folder} would be replaced, and holds {name}; name a new or an empty folder")


def read_sums(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file of a firmware folder when it was written, by path; empty if it is not known."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}


def _write_sums(folder: Path) -> None:
    """Write the sha256 of each file of a folder, as ``sha256sum`` does."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    sums = (f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    write_whole(folder / SUMS, "".join(sums))


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
    version = metadata.version("gatesearch")
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(C_SOURCES), undefined=jinja2.StrictUndefined, autoescape=False, trim_blocks=True
    )
    plan = hashlib.sha256(text.source.encode()).hexdigest()
    values = {
        "version": version,
        "digest": digest,
        "sha256": plan,
        "flash": text.flash,
        "ram": text.ram,
        "images": images,
        "licence": LICENCE,
    }
    for name, template in TEMPLATES.items():
        lines = environment.get_template(template).render(values).splitlines()
        yield name, "".join(f"{line.rstrip()}\n" for line in lines)


def _noise() -> Array:
    generator = np.random.default_rng(0)
    loudness = np.repeat(generator.uniform(1, 3000, 40), round(NOISE_S * 16000 / 40))
    return np.clip(generator.standard_normal(len(loudness)) * loudness, -32768, 32767).astype(np.int16)
