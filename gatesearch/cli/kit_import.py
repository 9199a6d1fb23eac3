"""Turns kernel timings from a board into a kernel table and a device profile: `measure import=FILE`.

The timings come from a kit, which is a folder of C sources. Its program, the runner, times kernels on the board.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from gatesearch._lib import console
from gatesearch._lib.files import write_whole
from gatesearch.cost.sources.board import count, kit, runner_output
from gatesearch.cost.sources.board.call_counter import macs_of_call
from gatesearch.cost.sources.board.runner_output import RunnerOutput
from gatesearch.cost.sources.board.table import BoardTable
from gatesearch.devices import profile
from gatesearch.errors import UserError

MIN_CONVOLUTIONS = 8
"""Fewest timed convolutions from which the times of other convolutions can be interpolated."""

NS_PER_US = 1000.0
FRONTEND_SLOWDOWN = 4
"""How many times slower than int8 products the front end's float arithmetic is assumed to be."""


def import_kit(
    source: Path, name: str, folder: Path | None, device: str, core: str | None, clock_mhz: float | None
) -> Path:
    """Write a kernel table and a device profile in the current folder, and return the profile's path.

    Args:
        source: file with the lines that the kit's runner printed on the board.
        name: the name of the table and of the profile.
        folder: the folder of the kit; None for the folder of ``source``.
        device: the profile to copy; in the copy, only one core differs.
        core: the core of that device whose timing is replaced; None if the device has only one core.
        clock_mhz: clock of the board in MHz; needed if the runner counted cycles or instructions.

    Raises:
        UserError: an argument or a file is missing or wrong, or the lines and the manifest are of different kits.
    """
    if not source.is_file():
        raise UserError(f"import={source}: no such file")
    if not name.replace("_", "").replace("-", "").isalnum():
        raise UserError(f"name={name}: letters, digits, - and _ only")
    manifest = _read_manifest(source, folder or source.parent)
    text = source.read_text(encoding="utf-8", errors="replace")
    output = runner_output.read(str(source), text, len(manifest["calls"]))
    if output.kit != manifest["kit"]:
        raise UserError(f"{source}: kit {output.kit!r}, but the manifest beside it is of {manifest['kit']!r}")
    if 0 not in output.rows:
        raise UserError(f"{source}: row 0, the empty call, was skipped")
    table = _build_table(source, name, manifest, output)
    document = _build_profile(table, name, profile.load(device), core, clock_mhz)
    table_path, profile_path = Path(f"{name}.json"), Path(f"{name}.yaml")
    for path in (table_path, profile_path):
        if path.exists():
            raise UserError(f"{path}: is there already; take another name=")
    write_whole(table_path, table.to_json())
    head = f"# {table.provenance} by kit {output.kit}; all but the timing of one core is that of {device}.\n"
    write_whole(profile_path, head + yaml.safe_dump(document, sort_keys=False, width=110))
    profile.load(profile_path)
    count.show(table)
    calls = len(table.readings) + len(table.others)
    console.say(f"{calls} calls imported, {len(output.skipped)} skipped; in a recipe: device={profile_path}")
    return profile_path


def _read_manifest(source: Path, folder: Path) -> dict[str, Any]:
    path = folder / kit.MANIFEST
    if not path.is_file():
        raise UserError(f"{source}: no {path}; name the kit's folder: kit=DIR")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        intact = manifest["kit"] == kit.digest(manifest)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is no manifest of a kit") from error
    if not intact:
        raise UserError(f"{path}: has been changed: its calls are not those of kit {manifest['kit']!r}")
    return manifest


def _build_table(source: Path, name: str, manifest: dict[str, Any], output: RunnerOutput) -> BoardTable:
    """Return the kernel table of a kit's rows, and check that enough convolutions were timed."""
    readings, others = kit.readings(manifest, output)
    if sum(reading.kernel == "conv" for reading in readings) < MIN_CONVOLUTIONS:
        raise UserError(f"{source}: fewer than {MIN_CONVOLUTIONS} convolutions were timed; give the runner more memory")
    simulated = output.unit == "instructions"
    method = f"shortest of several turns, in {output.unit}"
    if simulated:
        method = "instructions counted by an emulator; no cycle model"
    return BoardTable(
        schema_version=1,
        name=name,
        core=f"{name}, by kit {output.kit}",
        unit=output.unit,
        provenance="simulated" if simulated else "measured",
        source=f"kit {output.kit}, {method}",
        tools={"sources": manifest["sources"]},
        tile=output.tile,
        readings=readings,
        others=others,
    ).with_errors()


def _build_profile(
    table: BoardTable, name: str, device: profile.Device, core: str | None, clock_mhz: float | None
) -> dict[str, Any]:
    """Return the device's profile, in which the timing of one core comes from the table."""
    if core is None and len(device.cores) > 1:
        raise UserError(f"device={device.name} has several cores: write core= ({', '.join(device.core_names)})")
    replaced = device.core(core or device.core_names[0])
    if table.unit != "ns" and clock_mhz is None:
        raise UserError(
            f"the runner counted {table.unit}: set clock_mhz= to the number of {table.unit} in a microsecond"
        )
    dense = [reading for reading in table.readings if reading.kernel == "conv" and _is_dense(reading.remaining)]
    macs_per_tick = median(macs_of_call(reading.call) / reading.shortest for reading in dense)
    ticks_per_us = NS_PER_US if table.unit == "ns" else float(clock_mhz or 0)
    document = device.model_dump(mode="json", exclude_none=True)
    [target] = [each for each in document["cores"] if each["name"] == replaced.name]
    target["timing"] = _build_timing(table, replaced, ticks_per_us, macs_per_tick)
    target["engine"] = "kernels"  # the table holds times of gatesearch's own kernels
    target["description"] = f"{table.core}; {replaced.description}"
    description = f"{device.name} with {replaced.name} by its own kit: {table.provenance}"
    return {**document, "name": name, "description": description}


def _build_timing(table: BoardTable, core: profile.Core, ticks_per_us: float, macs_per_tick: float) -> dict[str, Any]:
    """Return the group ``timing`` of a core's profile for a table, with a provenance for each constant."""
    macs_per_us = macs_per_tick * ticks_per_us
    frontend_us = core.timing.frontend_us(1.0)
    frontend_macs_per_us = 1.0 / frontend_us if frontend_us else macs_per_us / FRONTEND_SLOWDOWN
    frontend_source = "a quarter of the rate of int8 products, no measurement"
    if frontend_us:
        frontend_source = f"as in the profile of {core.name}"
    rate_source = "median over the kit's dense convolutions of multiply-accumulates per time"
    clock_source = "given with the import" if table.unit != "ns" else "the runner's clock counts nanoseconds"
    clock = _constant(ticks_per_us, "MHz" if table.provenance == "simulated" else "ticks/us", "assumed", clock_source)
    if table.unit == "ns":
        clock["provenance"] = "measured"
    if table.provenance == "measured":
        return {
            "model": "measured",
            "table": f"{table.name}.json",
            "ticks_per_us": clock,
            "macs_per_us": _constant(macs_per_us, "MAC/us", "modelled", rate_source),
            "frontend_macs_per_us": _constant(frontend_macs_per_us, "MAC/us", "assumed", frontend_source),
        }
    return {
        "model": "instructions",
        "table": f"{table.name}.json",
        "instructions_per_mac": _constant(1 / macs_per_tick, "instructions/MAC", "simulated", rate_source),
        "frontend_instructions_per_mac": _constant(
            ticks_per_us / frontend_macs_per_us, "instructions/MAC", "assumed", frontend_source
        ),
        "clock_mhz": clock,
        "instructions_per_cycle": _constant(
            1.0, "instructions/cycle", "assumed", "upper bound of a single-issue core; an emulator has no cycle model"
        ),
    }


def _constant(value: float, unit: str, provenance: str, source: str) -> dict[str, Any]:
    """Return a constant of a profile, with its value rounded to four significant digits."""
    digits = 4 - math.ceil(math.log10(value)) if value > 0 else 4
    return {"value": round(value, max(digits, 0)), "unit": unit, "provenance": provenance, "source": source}


def _is_dense(shares: Mapping[str, float]) -> bool:
    """Say whether a call computes all of its work."""
    return all(share == 1.0 for share in shares.values())
