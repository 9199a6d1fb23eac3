"""The keys of a JSON Schema as rows that people read: name, type, range, default, meaning."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

Schema = Mapping[str, Any]

_TYPES = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}
_LIMITS = {"minimum": ">= {}", "exclusiveMinimum": "> {}", "maximum": "<= {}", "exclusiveMaximum": "< {}"}
_MAX_DEFAULT_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One key of a document.

    Args:
        key: the dotted name; ``NAME`` stands for a name that the user chooses, and ``N`` for an item of a list.
        type: the type of the value.
        range: the bounds of the value; empty where there are none.
        default: the default value as YAML; empty where the key is required.
        meaning: one sentence or several.
    """

    key: str
    type: str
    range: str
    default: str
    meaning: str


def list_rows(schema: Schema) -> list[KeyRow]:
    """Return the keys of a JSON Schema, each group before its own keys.

    >>> [row] = list_rows({"properties": {"seed": {"type": "integer", "minimum": 0, "default": 0}}})
    >>> row.key, row.type, row.range, row.default
    ('seed', 'integer', '>= 0', '0')
    """
    rows: dict[str, KeyRow] = {}
    for row in _walk(schema, schema.get("$defs", {}), ()):
        rows[row.key] = _merge(rows[row.key], row) if row.key in rows else row
    return list(rows.values())


def _merge(row: KeyRow, other: KeyRow) -> KeyRow:
    """Return one row for a key that two alternatives of its group have."""
    return replace(
        row,
        type=_join([row.type, other.type]),
        meaning=" ".join(dict.fromkeys([row.meaning, other.meaning])),
    )


def _walk(group: Schema, definitions: Schema, path: tuple[str, ...]) -> Iterator[KeyRow]:
    """Yield a row for each key of a group, and then the rows of the groups inside it."""
    required = group.get("required", ())
    for name, value in group.get("properties", {}).items():
        key = (*path, name)
        branches = _branches(value, definitions)
        yield KeyRow(
            key=".".join(key),
            type=_join(_type(branch) for branch in branches),
            range=_join(text for branch in branches if (text := _range(branch))),
            default="" if name in required else _default(value, branches),
            meaning=value.get("description") or next((b["description"] for b in branches if "description" in b), ""),
        )
        for branch in branches:
            yield from _walk(branch, definitions, key)
            inner = branch.get("additionalProperties")
            if isinstance(inner, Mapping) and "$ref" in inner:
                yield from _walk(_resolve(inner, definitions), definitions, (*key, "NAME"))
            items = branch.get("items", {})
            if "$ref" in items:
                yield from _walk(_resolve(items, definitions), definitions, (*key, "N"))


def _branches(value: Schema, definitions: Schema) -> list[Schema]:
    """Return the alternatives of a value, with references resolved."""
    for word in ("anyOf", "oneOf", "allOf"):
        if word in value:
            return [branch for each in value[word] for branch in _branches(each, definitions)]
    return [_resolve(value, definitions)]


def _resolve(value: Schema, definitions: Schema) -> Schema:
    if "$ref" not in value:
        return value
    target: Schema = definitions[value["$ref"].rpartition("/")[2]]
    return target


def _type(value: Schema) -> str:
    """Return a key's type as text, such as ``list of numbers``."""
    if "const" in value:
        return str(value["const"])
    if "enum" in value:
        return _join(map(str, value["enum"]))
    if value.get("type") == "array":
        fixed = value.get("prefixItems")
        if fixed:
            return f"[{', '.join(_type(item) for item in fixed)}]"
        items = value.get("items", {})
        return f"list of {'groups' if '$ref' in items else _plain_type(items)}"
    if value.get("type") == "object" and "properties" not in value:
        inner = value.get("additionalProperties")
        return f"NAME: {_plain_type(inner)}" if isinstance(inner, Mapping) else "NAME: value"
    return "group" if value.get("type") == "object" else _TYPES.get(str(value.get("type")), "value")


def _plain_type(value: Schema) -> str:
    if "anyOf" in value:
        return "value"
    return "group" if "$ref" in value else _type(value)


def _range(value: Schema) -> str:
    text = " and ".join(text.format(value[word]) for word, text in _LIMITS.items() if word in value)
    inner = value.get("items") or value.get("additionalProperties")
    if isinstance(inner, Mapping) and (each := _range(inner)):
        return f"each {each}"
    return text


def _default(value: Schema, branches: list[Schema]) -> str:
    if "default" not in value:
        return ""
    default = value["default"]
    if isinstance(default, Mapping) and any("properties" in each and "required" not in each for each in branches):
        return ""  # each key of the group shows its own default
    text = json.dumps(default, ensure_ascii=False)
    return text if len(text) <= _MAX_DEFAULT_CHARACTERS else f"{text[: _MAX_DEFAULT_CHARACTERS - 3]}..."


def _join(texts: Iterable[str]) -> str:
    return " | ".join(dict.fromkeys(texts))
