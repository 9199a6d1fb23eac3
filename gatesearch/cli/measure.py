"""``gatesearch measure kit=``, ``import=`` and ``board=``: tables of cores that are not this machine."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import yaml

from gatesearch._lib import console
from gatesearch.cost.sources.board import count, kit, runner_output, shapes
from gatesearch.cost.sources.board.call_counter import CallCounter, macs_of_call
from gatesearch.cost.sources.board.table import BoardTable
from gatesearch.devices import profile
from gatesearch.errors import UserError
from gatesearch.gates import KernelCall

if TYPE_CHECKING:
    from gatesearch.recipe import Recipe

LEAST_CALLS = 8  # of convolutions: fewer cannot say what others take


def write_kit(folder: Path, recipe: Recipe | None = None) -> None:
    """Write a kit: the calls that every table is made of and, with a recipe, those of its backbone's layers."""
    listed = list(shapes.listed())
    if recipe is not None:
        listed += _backbone_calls(recipe)
    manifest = kit.write(folder, listed, shapes.held_out())
    console.say(
        f"kit {manifest['kit']}: {len(manifest['calls'])} calls of kernels in {folder}; read {folder}/README.md"
    )


def _backbone_calls(recipe: Recipe) -> list[KernelCall]:
    import torch

    from gatesearch.pipeline.problem import Setting

    s = Setting.of(recipe, with_features=False)
    with torch.no_grad(), CallCounter(s.backbone.eval()) as counter:
        s.backbone(s.features.train.features[:1])
    # Of a recurrent layer one step is timed, however many it takes.
    single = [call._replace(shape=(1, *call.shape[1:])) if len(call.shape) == 3 else call for call in counter.calls]
    return [call for call in dict.fromkeys(single) if macs_of_call(call)]


def count_board(name: str) -> None:
    """Count a board's table anew, and say how far off it is and whether it is the one that is shipped."""
    made = count.count(name, shapes.listed(), shapes.held_out())
    count.show(made)
    shipped = count.TABLES / f"{name}.json"
    same = shipped.is_file() and shipped.read_text(encoding="utf-8") == made.to_json()
    console.say(
        f"equal to the shipped table {name}"
        if same
        else f"differs from the shipped {name}; write it anew: python -m gatesearch.cost.sources.board.count {name}"
    )


def take_in(
    source: Path, name: str, folder: Path | None, device: str, core: str | None, clock_mhz: float | None
) -> Path:
    """Take in what a kit's runner printed: a table and a device profile in the current folder; returns the profile.

    Args:
        source: the lines.
        name: of the table and of the profile.
        folder: of the kit; None for the folder of the lines.
        device: profile whose core it stands for; all but the core's timing is taken over.
        core: of that device; None for its only one.
        clock_mhz: of the board, where the runner counted cycles or instructions.

    Raises:
        UserError: the lines or the manifest are not those of one kit, or something is missing.
    """
    if not source.is_file():
        raise UserError(f"import={source}: no such file")
    if not name.replace("_", "").replace("-", "").isalnum():
        raise UserError(f"name={name}: letters, digits, - and _ only")
    manifest = _manifest(source, folder or source.parent)
    ran = runner_output.read(str(source), source.read_text(encoding="utf-8", errors="replace"), len(manifest["calls"]))
    if ran.kit != manifest["kit"]:
        raise UserError(f"{source}: kit {ran.kit!r}, but the manifest beside it is of {manifest['kit']!r}")
    if 0 not in ran.rows:
        raise UserError(f"{source}: row 0, the empty call, was skipped")
    readings, others = kit.readings(manifest, ran)
    if sum(r.kernel == "conv" for r in readings) < LEAST_CALLS:
        raise UserError(f"{source}: fewer than {LEAST_CALLS} convolutions were timed; give the runner more memory")
    simulated = ran.unit == "instructions"
    how = "instructions counted by an emulator; no cycle model"
    if not simulated:
        how = f"shortest of several turns, in {ran.unit}"
    table = BoardTable(
        schema_version=1,
        name=name,
        core=f"{name}, by kit {ran.kit}",
        unit=ran.unit,
        provenance="simulated" if simulated else "measured",
        source=f"kit {ran.kit}, {how}",
        tools={"sources": manifest["sources"]},
        tile=ran.tile,
        readings=readings,
        others=others,
    ).with_errors()
    written = _profile(table, name, profile.load(device), core, clock_mhz)
    paths = Path(f"{name}.json"), Path(f"{name}.yaml")
    for path in paths:
        if path.exists():
            raise UserError(f"{path}: is there already; take another name=")
    paths[0].write_text(table.to_json(), encoding="utf-8")
    head = f"# {table.provenance} by kit {ran.kit}; all but the timing of one core is that of {device}.\n"
    paths[1].write_text(head + yaml.safe_dump(written, sort_keys=False, width=110), encoding="utf-8")
    profile.load(paths[1])
    count.show(table)
    console.say(
        f"{len(readings) + len(others)} calls taken in, {len(ran.skipped)} skipped; in a recipe: device={paths[1]}"
    )
    return paths[1]


def _manifest(source: Path, folder: Path) -> dict[str, Any]:
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


def _profile(
    table: BoardTable, name: str, device: profile.Device, core: str | None, clock_mhz: float | None
) -> dict[str, Any]:
    if core is None and len(device.cores) > 1:
        raise UserError(f"device={device.name} has several cores: write core= ({', '.join(device.core_names)})")
    replaced = device.core(core or device.core_names[0])
    if table.unit != "ns" and clock_mhz is None:
        raise UserError(f"the runner counted {table.unit}: say how many a microsecond has, with clock_mhz=")
    rates = [macs_of_call(r.call) / r.taken for r in table.readings if r.kernel == "conv" and all_there(r.left)]
    written = device.model_dump(mode="json", exclude_none=True)
    [target] = [one for one in written["cores"] if one["name"] == replaced.name]
    target["timing"] = _timing(table, replaced, 1000.0 if table.unit == "ns" else float(clock_mhz or 0), median(rates))
    target["description"] = f"{table.core}; {replaced.description}"
    told = f"{device.name} with {replaced.name} by its own kit: {table.provenance}"
    return {**written, "name": name, "description": told}


def _timing(table: BoardTable, core: profile.Core, per_us: float, macs_per_tick: float) -> dict[str, Any]:
    front = core.timing.frontend_us(1.0)
    front_macs = 1.0 / front if front else macs_per_tick * per_us / 4
    told_front = (
        f"as the profile had it of {core.name}" if front else "a quarter of the rate of int8 products, no measurement"
    )
    middle = "the middle of the kit's dense convolutions, multiply-accumulates over time"
    given = "given with the import" if table.unit != "ns" else "the runner's clock tells nanoseconds"
    rate = _constant(per_us, "MHz" if table.provenance == "simulated" else "ticks/us", "assumed", given)
    if table.unit == "ns":
        rate["provenance"] = "measured"
    if table.provenance == "measured":
        return {
            "model": "measured",
            "table": f"{table.name}.json",
            "ticks_per_us": rate,
            "macs_per_us": _constant(macs_per_tick * per_us, "MAC/us", "modelled", middle),
            "frontend_macs_per_us": _constant(front_macs, "MAC/us", "assumed", told_front),
        }
    return {
        "model": "instructions",
        "table": f"{table.name}.json",
        "instructions_per_mac": _constant(1 / macs_per_tick, "instructions/MAC", "simulated", middle),
        "frontend_instructions_per_mac": _constant(per_us / front_macs, "instructions/MAC", "assumed", told_front),
        "clock_mhz": rate,
        "instructions_per_cycle": _constant(
            1.0, "instructions/cycle", "assumed", "upper bound of a single-issue core; an emulator has no cycle model"
        ),
    }


def _constant(value: float, unit: str, provenance: str, source: str) -> dict[str, Any]:
    digits = 4 - math.ceil(math.log10(value)) if value > 0 else 4
    return {"value": round(value, max(digits, 0)), "unit": unit, "provenance": provenance, "source": source}


def all_there(left: dict[str, float]) -> bool:
    """Say whether nothing was left out of a call."""
    return all(share == 1.0 for share in left.values())
