"""Reads device profiles from YAML files; each error is one line that names the key."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gatesearch._lib.yaml_reader import YamlError, read_yaml_file
from gatesearch.devices.constants import path_segment
from gatesearch.devices.device import Device
from gatesearch.errors import UserError, nearest, quote, unknown

ENTRY_POINTS = "gatesearch.devices"


def _plugged() -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=ENTRY_POINTS)}


def shipped() -> dict[str, Path]:
    """Return the files of the profiles that come with gatesearch, by name."""
    folder = Path(str(resources.files("gatesearch.devices") / "profiles"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def names() -> tuple[str, ...]:
    """Return the names of the profiles that :func:`load` finds without a path.

    >>> "three_core" in names()
    True
    """
    return tuple(dict.fromkeys([*shipped(), *_plugged()]))


def load(name_or_path: str | Path) -> Device:
    """Read a device profile.

    Args:
        name_or_path: a shipped or plugged-in name, or a path that ends in ``.yaml`` or ``.yml``.

    Raises:
        UserError: there is no such profile, or it breaks the schema. The error is one line with file, key, value and
            nearest choice.

    >>> load("three_core").core_names
    ('mcu', 'npu', 'app')
    """
    path = find_file(name_or_path)
    try:
        written = read_yaml_file(path, str(path))
    except YamlError as error:
        where = f"{path}:{error.line}" if error.line else str(path)
        raise UserError(f"{where}: not YAML: {error.problem}") from None
    if not isinstance(written, dict):
        raise UserError(f"{path}: a device profile is a mapping, found {type(written).__name__}")
    try:
        device = Device.model_validate(_with_absolute_tables(path.parent, written))
    except ValidationError as error:
        raise UserError(f"{path}: {_one_line(error.errors()[0], written)}") from error
    return device


def _with_absolute_tables(folder: Path, written: Mapping[str, Any]) -> dict[str, Any]:
    """Return a profile with absolute paths of kernel tables; in the file, they are relative to the file's folder."""
    cores = written.get("cores")
    new_cores: list[Any] = []
    for core in cores if isinstance(cores, list) else []:
        timing = core.get("timing") if isinstance(core, Mapping) else None
        table = timing.get("table") if isinstance(timing, Mapping) else None
        if isinstance(table, str) and table.endswith(".json"):
            core = {**core, "timing": {**timing, "table": str(folder.resolve() / table)}}  # type: ignore[dict-item]
        new_cores.append(core)
    return {**written, "cores": new_cores} if new_cores else dict(written)


def find_file(name_or_path: str | Path) -> Path:
    """Return the file of a profile by its name or path.

    Raises:
        UserError: there is no such file or name; the message gives the nearest name.
    """
    if not isinstance(name_or_path, str | Path):
        raise UserError(f"device: {quote(name_or_path)} is neither a name nor a path")
    if Path(name_or_path).suffix in {".yaml", ".yml"}:
        path = Path(name_or_path)
        if not os.path.isfile(path):  # unlike Path.is_file, no error for a path that is too long for the system
            raise UserError(f"device: no file {str(path)!r}; shipped: {', '.join(names())}")
        return path
    name = str(name_or_path)
    if name in shipped():
        return shipped()[name]
    if name in _plugged():
        return Path(_plugged()[name].load())
    raise unknown("device", "device", name, names())


def _one_line(error: ErrorDetails, written: Any) -> str:
    """Return a validation error as one line: ``key: value; nearest: ...``."""
    parts, node = [], written
    for part in error["loc"]:
        # For a union, pydantic adds the tag to the location; the tag is no key of the file.
        if isinstance(node, Mapping) and part not in node and part == node.get("model"):
            continue
        node = node[part] if _has(node, part) else None
        parts.append(path_segment(node, part) if isinstance(part, int) else str(part))
    where = ".".join(parts)
    context = error.get("ctx", {})
    if error["type"] == "gatesearch":
        return f"{where}.{error['msg']}".lstrip(".")
    if error["type"] == "missing":
        return f"{where}: this key is missing"
    choices = re.findall(r"'([^']+)'", str(context.get("expected", context.get("expected_tags", ""))))
    if "tag" in context:
        where, node = f"{where}.model", context["tag"]
    hint = ""
    if choices:
        hint = f"; nearest: {nearest(str(node), choices) or choices[0]!r} (choices: {', '.join(choices)})"
    return f"{where}: {node!r}: {error['msg']}{hint}"


def _has(node: Any, part: int | str) -> bool:
    if isinstance(node, Mapping):
        return part in node
    return isinstance(node, list) and isinstance(part, int) and part < len(node)
