"""Reads a device profile and the profiles that it inherits from, merges them, and finds the line of each key.

A profile with ``base: NAME`` inherits every key of the profile NAME and states only what differs:

- Groups of keys are merged key by key. A constant, which is a group with ``value``, replaces the base's constant as a
  whole, so that no value has the source of another one. A timing of another model replaces the base's timing.
- Items of a list are merged by name, links by source and target. An item with a new name is added at the end. An item
  with ``remove: true`` removes the base's item.
- A key with the value null is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatesearch._lib.yaml_reader import YamlError, find_lines, parse_yaml, read_yaml_text
from gatesearch.devices.constants import path_segment
from gatesearch.errors import UserError, first_line, quote

BASE = "base"
REMOVE = "remove"


@dataclass(frozen=True)
class Document:
    """One file of a profile.

    Args:
        path: the file.
        values: the values in the file; kernel tables have absolute paths.
        lines: the line of each value, by path.
    """

    path: Path
    values: Mapping[str, Any]
    lines: Mapping[tuple[str, ...], int]

    def replaces(self, path: Sequence[str]) -> bool:
        """Return whether the file replaces the value at a path, or a value around it, as a whole."""
        node: Any = self.values
        for segment in path:
            node = find_child(node, segment)
            if node is None or _is_whole(node):
                return node is not None
        return False


def read_documents(path: Path, find_file: Callable[[str, Path], Path]) -> list[Document]:
    """Return the files of a profile: its own first, and each file before its base.

    Args:
        path: the file of the profile.
        find_file: a function from the name of a base, and the folder of the profile that names it, to the base's file.

    Raises:
        UserError: a file cannot be read, or is no YAML mapping. Or a base does not exist, or a profile inherits from
            itself.
    """
    documents = [_read_document(path)]
    while (name := documents[-1].values.get(BASE)) is not None:
        last = documents[-1]
        where = f"{last.path}:{last.lines.get((BASE,), 1)}: {BASE}"
        if not isinstance(name, str):
            raise UserError(f"{where}: {quote(name)} is not the name or the path of a profile")
        try:
            file = find_file(name, last.path.parent)
        except UserError as error:
            raise UserError(f"{where}: {first_line(error)}") from None
        if any(file.resolve() == each.path.resolve() for each in documents):
            loop = " > ".join([*(each.path.name for each in documents), file.name])
            raise UserError(f"{where}: a profile cannot inherit from itself: {loop}")
        documents.append(_read_document(file))
    return documents


def merge_documents(documents: Sequence[Document]) -> dict[str, Any]:
    """Return the values of a profile; those of a file replace those of its base.

    ``base`` stays only if the profile's own file states it.
    """
    *derived, root = documents
    merged = dict(root.values)
    for document in reversed(derived):
        merged = _merge({key: value for key, value in merged.items() if key != BASE}, document.values)
    return merged


def locate(documents: Sequence[Document], path: Sequence[str]) -> tuple[Path, int | None]:
    """Return the file and the line that an error at a path of the merged profile names.

    The file is the one that states the key at the path. If no file states this key, it is the one that states the
    longest beginning of the path. A file that replaces a value as a whole is named for all keys in this value.
    """
    depths = []
    for document in documents:
        depth = next(n for n in range(len(path), -1, -1) if n == 0 or tuple(path[:n]) in document.lines)
        depths.append((depth, document))
        if document.replaces(path[:depth]):
            break
    depth, document = max(depths, key=lambda pair: pair[0])  # the first of equal depths, which a derived profile states
    return document.path, document.lines.get(tuple(path[:depth]))


def _read_document(path: Path) -> Document:
    text = read_yaml_text(path, str(path))
    try:
        values = parse_yaml(text, str(path))
    except YamlError as error:
        where = f"{path}:{error.line}" if error.line else str(path)
        raise UserError(f"{where}: not YAML: {error.problem}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: a device profile is a mapping, found {type(values).__name__}")
    return Document(path, _with_absolute_tables(path.parent, values), find_lines(text, path_segment))


def _with_absolute_tables(folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a profile with absolute paths of kernel tables; in the file, they are relative to the file's folder."""
    cores = values.get("cores")
    new_cores: list[Any] = []
    for core in cores if isinstance(cores, list) else []:
        timing = core.get("timing") if isinstance(core, Mapping) else None
        table = timing.get("table") if isinstance(timing, Mapping) else None
        if isinstance(table, str) and table.endswith(".json"):
            core = {**core, "timing": {**timing, "table": str(folder.resolve() / table)}}  # type: ignore[dict-item]
        new_cores.append(core)
    return {**values, "cores": new_cores} if new_cores else dict(values)


def _merge(base: Any, own: Any) -> Any:
    if isinstance(base, Mapping) and isinstance(own, Mapping):
        if _is_whole(own) or ("model" in own and own["model"] != base.get("model")):
            return own
        merged = {**base, **{key: _merge(base[key], value) if key in base else value for key, value in own.items()}}
        return {key: value for key, value in merged.items() if value is not None}
    if isinstance(base, list) and isinstance(own, list) and all(isinstance(item, Mapping) for item in [*base, *own]):
        items = {path_segment(item, index): item for index, item in enumerate(base)}
        for index, item in enumerate(own):
            segment = path_segment(item, index)
            if item.get(REMOVE) is True and segment in items:
                del items[segment]
                continue
            items[segment] = _merge(items[segment], item) if segment in items else item
        return list(items.values())
    return own


def _is_whole(node: Any) -> bool:
    """Return whether a value is a constant, perhaps a misspelt one; it then replaces the base's value as a whole."""
    return isinstance(node, Mapping) and bool({"value", "provenance"} & set(node)) and "name" not in node


def find_child(node: Any, segment: str) -> Any:
    """Return the value that a segment of a path names in a mapping or a list; None if there is none."""
    if isinstance(node, Mapping):
        return node.get(segment)
    if isinstance(node, list):
        return next((item for index, item in enumerate(node) if path_segment(item, index) == segment), None)
    return None
