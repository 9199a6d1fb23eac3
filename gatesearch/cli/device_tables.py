"""Prints the tables of `gatesearch devices`: all devices, or the constants of one device."""

from __future__ import annotations

from gatesearch._lib import console
from gatesearch.devices import profile
from gatesearch.devices.engine import ENGINES


def list_devices(as_json: bool = False) -> None:
    """Print every device that a recipe can name."""
    devices = [profile.load(name) for name in profile.names()]
    if as_json:
        console.print_json(
            [{"name": each.name, "cores": each.core_names, "description": each.description} for each in devices]
        )
        return
    rows = [(each.name, ", ".join(each.core_names), each.description) for each in devices]
    console.table("devices", ("name", "cores", "description"), rows)


def show_device(name: str, as_json: bool = False) -> None:
    """Print each constant of a device with its unit and its provenance.

    Raises:
        UserError: there is no such device, or its profile cannot be read.
    """
    device = profile.load(name)
    if as_json:
        console.print_json(device.model_dump(mode="json"))
        return
    rows = [
        (path, constant.value, constant.unit, constant.provenance, constant.source)
        for path, constant in profile.list_constants(device)
    ]
    console.table(name, ("constant", "value", "unit", "provenance", "source"), rows)
    from gatesearch.cost.sources import board

    for core in device.cores:
        console.say(f"core {core.name}: engine {core.engine}: {ENGINES[core.engine].description}")
        if table := board.table_of(core):
            console.say(f"core {core.name}: {table.summary}")
