"""The step ``firmware`` of a run: writes the best plan's bundle as C sources, and checks them on this host."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from gatesearch._lib import console
from gatesearch._lib.files import digest
from gatesearch.devices.profile import Core
from gatesearch.errors import UserError
from gatesearch.export.firmware import write_firmware
from gatesearch.export.firmware.check import NotRunError, check_firmware
from gatesearch.export.source_folder import find_changed
from gatesearch.kernels.arrays import Array
from gatesearch.pipeline.export import PlanBundle
from gatesearch.pipeline.firmware_memory import describe_shortages, list_image_cores
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.stream_sound import read_test_sound
from gatesearch.runtime.listener import DETECTOR

FIRMWARE = "best/firmware"
FIRMWARE_FILE = "logs/firmware.json"


@dataclass(frozen=True, slots=True)
class FirmwareRecord:
    """The firmware of a run.

    Args:
        folder: the folder, relative to the run folder.
        flash, ram: bytes of constants and of working memory by part, without code and stack.
        images: flash and RAM by part of the linked image, and its stack, for each core that could be measured.
        hops, detections: number of hops, and of detections, in the golden vectors.
        shortages: a line for each memory of its core that is too small.
        check: the line that the check on this host printed; None if the check could not run, or failed.
        problem: why the check failed; None if it passed or could not run.
    """

    folder: str
    flash: dict[str, int]
    ram: dict[str, int]
    hops: int
    detections: int
    images: list[dict[str, Any]]
    shortages: list[str] = field(default_factory=list)
    check: str | None = None
    problem: str | None = None


def build_firmware(problem: Problem, bundle: PlanBundle, folder: RunFolder) -> FirmwareRecord | None:
    """Write the firmware of a run on a stream of sound, and play its golden vectors on this host.

    Firmware that was made from the same weights and plan is not written again. The check runs again in any case.

    Returns:
        The record; None for runs on other data. Also None if a part has no kernel; a warning then names the part.
    """
    sound = read_test_sound(problem)
    if sound is None or bundle.manifest.get(DETECTOR) is None:
        return None  # clips and other signals: a bundle has no detector, or no front end in C
    record = _load(bundle, folder)
    if record is None:
        try:
            record = _write(problem, bundle, folder, sound)
        except UserError as error:
            console.warn(f"firmware: not written: {str(error).removeprefix('firmware: ')}")
            return None
    for line in record.shortages:
        console.warn(line)
    try:
        record = replace(record, check=check_firmware(folder / FIRMWARE))
    except NotRunError as error:
        console.warn(str(error))
    except UserError as error:
        console.warn(str(error))
        record = replace(record, problem=str(error))
    else:
        console.say(f"firmware: make check on this host: {record.check}")
    return record


def _load(bundle: PlanBundle, folder: RunFolder) -> FirmwareRecord | None:
    stored = folder.load(FIRMWARE_FILE, json.loads, "the firmware is written again")
    if stored is None or stored["made_from"] != _describe_origin(bundle) or "shortages" not in stored["firmware"]:
        return None
    changed = find_changed(folder / FIRMWARE, stored["files"])
    if changed is not None:
        console.warn(f"firmware: {changed} is not what the run wrote; the firmware is written again")
        return None
    return FirmwareRecord(**stored["firmware"])


def _write(problem: Problem, bundle: PlanBundle, folder: RunFolder, sound: Array) -> FirmwareRecord:
    core = _find_core(problem)
    firmware = write_firmware(bundle.path, folder / FIRMWARE, sound, list_image_cores(core))
    console.say(firmware.describe())
    record = FirmwareRecord(
        folder=FIRMWARE,
        flash=dict(firmware.flash),
        ram=dict(firmware.ram),
        hops=firmware.hops,
        detections=firmware.detections,
        images=[asdict(image) for image in firmware.images],
        shortages=describe_shortages(core, firmware),
    )
    entry = {
        "made_from": _describe_origin(bundle),
        "firmware": firmware_entry(record),
        "files": _digest_files(firmware.folder),
    }
    folder.write_json(FIRMWARE_FILE, entry)
    return record


def _find_core(problem: Problem) -> Core:
    """Return the core of the front end, which runs the firmware."""
    return problem.device.core(problem.device.sense.core)


def _describe_origin(bundle: PlanBundle) -> dict[str, str]:
    return {"plan": bundle.manifest["digest"], "weights": bundle.manifest["made_from"]["weights"]}


def _digest_files(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file of a firmware folder, by path in the folder, before the firmware is built."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): digest(path.read_bytes()) for path in files}


def firmware_entry(record: FirmwareRecord | None) -> dict[str, Any] | None:
    """Return the entry ``firmware`` of summary.json."""
    return None if record is None else asdict(record)


def export_firmware(problem: Problem, bundle: PlanBundle, folder: Path) -> None:
    """Write and check the firmware of a bundle in any folder.

    Raises:
        UserError: the run has no detector, a part has no kernel, or the check fails.
    """
    if bundle.manifest.get(DETECTOR) is None:
        raise UserError("target=firmware: only runs on streams of sound have firmware; wanted: goal: detection")
    core = _find_core(problem)
    firmware = write_firmware(bundle.path, folder, read_test_sound(problem), list_image_cores(core))
    console.say(firmware.describe())
    for line in describe_shortages(core, firmware):
        console.warn(line)
    console.say(f"firmware: make check on this host: {check_firmware(folder)}")
