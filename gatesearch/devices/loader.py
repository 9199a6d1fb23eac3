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

from gatesearch.devices.constants import path_segment
from gatesearch.devices.device import Device
from gatesearch.devices.documents import find_child, locate, merge_documents, read_documents
from gatesearch.errors import UserError, nearest, quote, unknown

ENTRY_POINTS = "gatesearch.devices"
HYPOTHETICAL = ("bit_serial", "three_core")  # shipped profiles of devices that do not exist


def _plugged() -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=ENTRY_POINTS)}


def shipped() -> dict[str, Path]:
    """Return the files of the profiles that come with gatesearch, by name; those of hypothetical devices are last."""
    folder = Path(str(resources.files("gatesearch.devices") / "profiles"))
    return {
        path.stem: path for path in sorted(folder.glob("*.yaml"), key=lambda path: (path.stem in HYPOTHETICAL, path))
    }


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
        UserError: there is no such profile, or it breaks the schema. The error is one line with file, line, key, value
            and nearest choice. If the profile inherits, the file is the one that states the key.

    >>> load("three_core").core_names
    ('mcu', 'npu', 'app')
    """
    documents = read_documents(find_file(name_or_path), _find_base)
    values = merge_documents(documents)
    try:
        return Device.model_validate(values)
    except ValidationError as error:
        text = _one_line(error.errors()[0], values)
        path, line = locate(documents, _path_of(text, values))
        raise UserError(f"{path}:{line}: {text}" if line else f"{path}: {text}") from error


def _find_base(name: str, folder: Path) -> Path:
    """Return the file of a base; a path is relative to the folder of the profile that names it."""
    return find_file(folder / name if Path(name).suffix in {".yaml", ".yml"} else name)


def _path_of(text: str, values: Any) -> list[str]:
    """Return the path of the key with which a message begins, with names in place of indices."""
    path, node = [], values
    for part in text.partition(": ")[0].split("."):
        if isinstance(node, list) and part.isdigit() and int(part) < len(node):
            part = path_segment(node[int(part)], int(part))
        node = find_child(node, part)
        path.append(part)
    return path


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
