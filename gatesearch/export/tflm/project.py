"""Writes the folder of the later cores of a bundle for TensorFlow Lite Micro (TFLM)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from gatesearch._lib.files import write_whole
from gatesearch._lib.plugins import need
from gatesearch.devices.profile import Device
from gatesearch.errors import UserError
from gatesearch.export.firmware.vectors import choose_stretch, make_noise, trace_hops, vectors_text
from gatesearch.export.source_folder import check_replaceable, render, replaced_folder, write_sums
from gatesearch.export.tflm.arena import MARGIN_BYTES, NPU_RECORDS_BYTES
from gatesearch.export.tflm.operators import resolver_methods
from gatesearch.export.tflm.programs import TflmProgram, list_programs
from gatesearch.export.tflm.source import describe_programs, header_text, model_text, plan_text
from gatesearch.kernels.arrays import Array
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.listener import DETECTOR
from gatesearch.runtime.manifest import load_manifest
from gatesearch.runtime.open_listener import HOST_ENGINE

C_SOURCES = Path(__file__).parent / "c"
INDEX = "tflm.json"
# The files of a folder, by path, and their sources in C_SOURCES.
PLACES = {
    "include/gs_tflm.h": "gs_tflm.h",
    "src/gs_tflm.cc": "gs_tflm.cc",
    "src/gs_tflm_tables.h": "gs_tflm_tables.h",
    "test/main.cc": "main.cc",
    "Makefile": "Makefile",
    "CMakeLists.txt": "CMakeLists.txt",
}
README = "README.md"
GENERATED = ("src/gs_tflm_plan.h", "src/gs_tflm_plan.cc", "test/vectors.h", INDEX, README)
ENGINE = "reference"  # LiteRT's reference kernels, which equal TFLM bit for bit in int8


@dataclass(frozen=True, slots=True)
class Tflm:
    """A written folder.

    Args:
        folder: the folder.
        programs: the programs in it.
        hops, detections: number of hops, and of detections, in the golden vectors.
    """

    folder: Path
    programs: tuple[TflmProgram, ...]
    hops: int
    detections: int

    def describe(self) -> str:
        """Return a line with the folder, its stages, and the bytes of models and arenas."""
        stages = ", ".join(f"{k} on {core}" for k, core in {each.stage: each.core for each in self.programs}.items())
        models, arenas = (
            sum(sizes) / 1024
            for sizes in ([len(each.model) for each in self.programs], [each.arena.bytes for each in self.programs])
        )
        return (
            f"tflm: {self.folder}: stage {stages}: {models:.1f} KiB of models, {arenas:.1f} KiB of arenas; "
            f"{self.hops} golden hops, {self.detections} detections; not run on a board"
        )


def write_tflm(bundle: Path, folder: Path, device: Device, sound: Array | None = None) -> Tflm:
    """Write the folder of a bundle's later cores; an older folder is replaced once the new one is complete.

    Args:
        bundle: the folder of a bundle of a run with goal detection.
        folder: the folder to write.
        device: the device that has the cores of the plan.
        sound: sound of the test stream, from which golden vectors are taken, int16 [n]; None for seeded noise.

    Raises:
        UserError: the bundle has no detector or no stage for TFLM, or TFLM lacks an operator; or the folder holds files
            of something else.
    """
    check_replaceable("tflm", folder, {*PLACES, *GENERATED}, ("build/",))
    need("target=tflm", "jinja2")
    manifest = load_manifest(bundle)
    if manifest.get(DETECTOR) is None:
        raise UserError("target=tflm: only runs on streams of sound have firmware; wanted: goal: detection")
    programs = list_programs(bundle, manifest, device)
    phases = manifest["hops"]["phases"] if manifest.get("hops") else 1
    cores = {each.core for each in programs}
    opened = open_devices(bundle, cores)
    stretch = choose_stretch(opened, make_noise() if sound is None else sound)
    vectors = trace_hops(opened, stretch)
    with replaced_folder(folder) as part:
        for name, source in PLACES.items():
            write_whole(part / name, (C_SOURCES / source).read_text())
        for program in programs:
            write_whole(part / "models" / f"{program.name}.cc", model_text(program))
        write_whole(part / "src/gs_tflm_plan.h", header_text(programs, manifest["digest"]))
        write_whole(part / "src/gs_tflm_plan.cc", plan_text(programs, phases))
        write_whole(part / "test/vectors.h", vectors_text(stretch, vectors))
        write_whole(part / INDEX, json.dumps(describe_programs(programs, manifest["digest"]), indent=1) + "\n")
        write_whole(part / README, _readme(programs, manifest["digest"], len(manifest["stages"])))
        write_sums(part)
    detections = sum(vector.label >= 0 for vector in vectors)
    return Tflm(folder, tuple(programs), len(vectors), detections)


def open_devices(bundle: Path, cores: set[str]) -> Bundle:
    """Return a bundle in which the named cores compute as TFLM does, and all others as the firmware does."""
    names = [stage["core"] for stage in load_manifest(bundle)["stages"]]
    opened = Bundle(bundle, {name: ENGINE if name in cores else HOST_ENGINE for name in names})
    opened.exits = Bundle(bundle, dict.fromkeys(names, HOST_ENGINE)).exits  # firmware runs the exits of gates
    return opened


def count_own_stages(programs: Sequence[TflmProgram], stages: int) -> int:
    """Return the number of the first stages whose weights the firmware needs: TFLM runs all stages behind them."""
    elsewhere = {each.stage for each in programs}
    return next((k + 1 for k in reversed(range(stages)) if k not in elsewhere), 1)


def _readme(programs: Sequence[TflmProgram], digest: str, stages: int) -> str:
    return render(
        C_SOURCES,
        "README.md.j2",
        {
            "digest": digest,
            "version": metadata.version("gatesearch"),
            "programs": programs,
            "methods": resolver_methods(each.model for each in programs),
            "npu": any(each.npu for each in programs),
            "margin": MARGIN_BYTES,
            "records": NPU_RECORDS_BYTES,
            "stages": stages,
            "own": count_own_stages(programs, stages),
        },
    )
