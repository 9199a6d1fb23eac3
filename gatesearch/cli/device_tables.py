"""Prints the tables of `gatesearch devices`: all devices, the constants of one, or the differences of two."""

from __future__ import annotations

import datetime
import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from pydantic import BaseModel

from gatesearch._lib import console
from gatesearch._lib.format import format_cell
from gatesearch.devices import profile
from gatesearch.devices.engine import ENGINES
from gatesearch.devices.profile import Constant, Device

SOURCE_INDENT, COLUMN_GAP = " " * 6, " " * 2


def list_devices(as_json: bool = False) -> None:
    """Print every device that a recipe can name."""
    devices = [profile.load(name) for name in profile.names()]
    if as_json:
        console.print_json(
            [{"name": each.name, "cores": each.core_names, "description": each.description} for each in devices]
        )
        return
    rows = [(each.name, ", ".join(each.core_names), _count_assumed(each), each.description) for each in devices]
    console.table("devices", ("name", "cores", "assumed", "description"), rows)
    console.say("assumed: how many of the device's constants have no source")
    console.say("gatesearch devices NAME: each constant with its source")
    console.say("gatesearch devices compare A B: the constants in which two devices differ")


def show_device(name: str, as_json: bool = False) -> None:
    """Print each constant of a device: value, unit, provenance, age of the source, source and condition.

    Raises:
        UserError: there is no such device, or its profile cannot be read.
    """
    device, today = profile.load(name), datetime.date.today()
    if as_json:
        console.print_json(device.model_dump(mode="json"))
        return
    width_characters = console.console().width
    _say_paragraph(f"{device.name}: {device.description}", width_characters)
    console.say()
    for title, constants in _groups(device):
        console.say(f"{device.name}: {title}")
        for line in _list_lines(constants, today, width_characters):
            console.say(line)
        console.say()
    from gatesearch.cost.sources import board

    for core in device.cores:
        engine = f"engine {core.engine}: {ENGINES[core.engine].description}"
        _say_paragraph(f"core {core.name}: {engine}", width_characters)
        if table := board.table_of(core):
            _say_paragraph(f"core {core.name}: {table.summary}", width_characters)


def compare_devices(names: Sequence[str], as_json: bool = False) -> None:
    """Print the constants in which two devices differ, with the ratio of the second to the first.

    The first cores of the two devices are compared, then the second cores, and so on, because names of cores differ.

    Raises:
        UserError: there is no such device, or its profile cannot be read.
    """
    first, second = (profile.load(name) for name in names)
    rows = list(_pair_constants(first, second))
    differing = [(path, a, b) for path, a, b in rows if a is None or b is None or a.value != b.value]
    if as_json:
        console.print_json(
            [{"constant": path, first.name: _to_json(a), second.name: _to_json(b)} for path, a, b in differing]
        )
        return
    cells = [
        (path, _describe_value(a), _describe_value(b), f"{b.value / a.value:.3g}x" if a and b and a.value else None)
        for path, a, b in differing
    ]
    console.table(f"{first.name} and {second.name}", ("constant", first.name, second.name, "ratio"), cells)
    console.say(f"{len(rows) - len(differing)} other constants have equal values")


def _groups(device: Device) -> Iterator[tuple[str, list[tuple[str, Constant]]]]:
    """Yield a title and the constants of each core, each link and the sensor, with paths relative to it."""
    for core in device.cores:
        clocks = f" at {' or '.join(core.clock_names)}" if core.clocks else ""
        yield f"core {core.name}{clocks}", profile.list_constants(core)
    for link in device.links:
        yield f"link {link.source} to {link.target}", profile.list_constants(link)
    yield f"sensor, on core {device.sense.core}", profile.list_constants(device.sense)


def _list_lines(
    constants: Sequence[tuple[str, Constant]], today: datetime.date, width_characters: int
) -> Iterator[str]:
    """Yield a row for each constant, and behind it the constant's source as indented lines.

    The age of the source is a column of the rows, or precedes the source if the rows have no room for it.
    """
    rows = [(path, _describe_value(one), one.provenance, _describe_age(one, today)) for path, one in constants]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    has_room = sum(widths) + len(COLUMN_GAP) * len(widths) <= width_characters
    for row, (_, constant) in zip(rows, constants, strict=True):
        cells = row if has_room else row[:-1]
        yield COLUMN_GAP + COLUMN_GAP.join(map(str.ljust, cells, widths)).rstrip()
        source = _cite(constant) if has_room or not row[-1] else f"{row[-1]}: {_cite(constant)}"
        yield from textwrap.wrap(
            source, width_characters, initial_indent=SOURCE_INDENT, subsequent_indent=SOURCE_INDENT
        )


def _say_paragraph(text: str, width_characters: int) -> None:
    """Print a text as lines of at most a width, indented from the second line on."""
    for line in textwrap.wrap(text, width_characters, subsequent_indent=SOURCE_INDENT, break_on_hyphens=False):
        console.say(line)


def _count_assumed(device: Device) -> str:
    """Return how many of a device's constants are assumed, such as ``1 of 15``."""
    constants = [constant for _, group in _groups(device) for _, constant in group]
    return f"{sum(each.provenance == 'assumed' for each in constants)} of {len(constants)}"


def _pair_constants(first: Device, second: Device) -> Iterator[tuple[str, Constant | None, Constant | None]]:
    """Yield the constants of two devices in pairs; None stands for a constant that a device does not have."""
    for one, other in zip_longest(first.cores, second.cores):
        names = dict.fromkeys(core.name for core in (one, other) if core is not None)
        yield from _pair("/".join(names), one, other)
    links, other_links = ({f"{link.source}-{link.target}": link for link in each.links} for each in (first, second))
    for name in dict.fromkeys([*links, *other_links]):
        yield from _pair(name, links.get(name), other_links.get(name))
    yield from _pair("sense", first.sense, second.sense)


def _pair(
    prefix: str, first: BaseModel | None, second: BaseModel | None
) -> Iterator[tuple[str, Constant | None, Constant | None]]:
    """Yield the constants of two parts of devices in pairs; None stands for a part that a device does not have."""
    own, others = ({} if part is None else dict(profile.list_constants(part)) for part in (first, second))
    for path in dict.fromkeys([*own, *others]):
        yield f"{prefix}.{path}", own.get(path), others.get(path)


def _describe_value(constant: Constant | None) -> str:
    """Return a value with its unit and, if the profile states one, its range."""
    if constant is None:
        return "-"
    text = f"{format_cell(constant.value)} {constant.unit.replace('instructions', 'instr.')}"  # fits 80 columns
    if constant.low is None and constant.high is None:
        return text
    low, high = map(format_cell, constant.ends)
    return f"{text} ({low} to {high})"


def _describe_age(constant: Constant, today: datetime.date) -> str:
    """Return the age of a constant's source, such as ``14 months ago``; empty without a date."""
    years = constant.age_years(today)
    if years is None:
        return ""
    return f"{years:.0f} years ago" if years >= 2 else f"{max(1, round(12 * years))} months ago"


def _cite(constant: Constant) -> str:
    return f"{constant.source} ({constant.condition})" if constant.condition else constant.source


def _to_json(constant: Constant | None) -> dict[str, Any] | None:
    return None if constant is None else constant.model_dump(mode="json")
