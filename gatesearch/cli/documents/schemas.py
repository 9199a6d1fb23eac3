"""JSON Schemas of the files that gatesearch reads and writes, and the pages that are made from them.

``gatesearch schema --write docs`` writes docs/schemas/NAME.json and docs/recipes.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from gatesearch._lib.files import write_whole
from gatesearch.errors import unknown
from gatesearch.recipe.keys import KeyRow, list_rows

VERSION = 1
"""Version of all schemas; it rises with each change that old files do not fit."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"
COMMAND = "gatesearch schema --write docs"


def _recipe() -> type[BaseModel]:
    from gatesearch.recipe.schema import Recipe

    return Recipe


def _device() -> type[BaseModel]:
    from gatesearch.devices.profile import Device

    return Device


def _plan() -> type[BaseModel]:
    from gatesearch.cli.documents.plan import Plan

    return Plan


def _summary() -> type[BaseModel]:
    from gatesearch.cli.documents.summary import Summary

    return Summary


def _manifest() -> type[BaseModel]:
    from gatesearch.cli.documents.manifest import Manifest

    return Manifest


def _scene() -> type[BaseModel]:
    from gatesearch.data.scenes.spec import SceneSpec

    return SceneSpec


MODELS: Mapping[str, Callable[[], type[BaseModel]]] = {
    "recipe": _recipe,
    "device": _device,
    "plan": _plan,
    "summary": _summary,
    "manifest": _manifest,
    "scene": _scene,
}
"""The function that imports the model of each described file, so that only the model in use is imported."""


def find_model(name: str) -> type[BaseModel]:
    """Return the pydantic model that describes a file.

    Raises:
        UserError: no described file has this name.
    """
    if name not in MODELS:
        raise unknown("schema", "schema", name, MODELS)
    return MODELS[name]()


def build_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema that describes a file.

    Raises:
        UserError: no described file has this name.

    >>> build_schema("plan")["title"]
    'gatesearch plan, version 1'
    """
    schema = find_model(name).model_json_schema()
    if name == "recipe":
        # A recipe file may hold the name of a search space in place of its keys.
        schema["properties"]["space"] = {
            "description": schema["properties"]["space"]["description"],
            "anyOf": [{"$ref": "#/$defs/SearchSpace"}, {"type": "string", "minLength": 1}],
        }
    if name == "device":
        # A profile that inherits needs only the keys that differ from those of its base.
        schema["anyOf"] = [{"required": schema.pop("required")}, {"required": ["schema_version", "name", "base"]}]
    head = {
        "$schema": DIALECT,
        "$id": f"urn:gatesearch:{name}:{VERSION}",
        "title": f"gatesearch {name}, version {VERSION}",
        "schema": VERSION,
    }
    return head | {key: value for key, value in schema.items() if key not in head}


def render_schema(name: str) -> str:
    """Return the text of docs/schemas/NAME.json."""
    return json.dumps(build_schema(name), indent=1, ensure_ascii=False) + "\n"


def render_recipe_page() -> str:
    """Return the text of docs/recipes.md: every key of a recipe, a table for each group."""
    rows = list_rows(build_schema("recipe"))
    groups = {row.key for row in rows if any(other.key.startswith(f"{row.key}.") for other in rows)}
    lines = [
        "# Recipes",
        "",
        "A recipe is the YAML file that says what a run does. Every key can be changed on the command line",
        "(`training.epochs=10`) or dropped, so that its default holds (`~augment.speed`). `${training.learning_rate}`",
        "stands for another key's value. `gatesearch show --help-keys [GROUP]` prints this page's tables in the",
        "terminal, `gatesearch show recipe=NAME` a whole recipe with its defaults.",
        "",
        f"This page and docs/schemas/ are made from the schema by `{COMMAND}`.",
        "",
        "## Top level",
        "",
        *_table(row for row in rows if "." not in row.key and row.key not in groups),
    ]
    for group in (row for row in rows if row.key in groups):
        inner = [row for row in rows if row.key.rpartition(".")[0] == group.key and row.key not in groups]
        lines += ["", f"## `{group.key}`", "", group.meaning]
        if inner:
            lines += ["", *_table(inner)]
    return "\n".join(lines) + "\n"


def write_pages(docs: Path) -> list[Path]:
    """Write every schema and the page of keys under a docs folder; return the paths."""
    texts = {docs / "schemas" / f"{name}.json": render_schema(name) for name in MODELS}
    texts[docs / "recipes.md"] = render_recipe_page()
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    return list(texts)


def _table(rows: Any) -> list[str]:
    lines = ["| key | type | range | default | meaning |", "|---|---|---|---|---|"]
    return lines + [_line(row) for row in rows]


def _line(row: KeyRow) -> str:
    default = f"`{row.default}`" if row.default else "-"
    cells = (f"`{row.key}`", row.type, row.range or "-", default, row.meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
