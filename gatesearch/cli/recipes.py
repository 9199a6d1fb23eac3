"""Commands that explain recipes and files: ``show`` and ``schema``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from gatesearch.cli.arguments import AsJson, Settings, load_recipe
from gatesearch.cli.completion import complete_schema
from gatesearch.errors import UserError, unknown

_HelpKeys = Annotated[
    bool, typer.Option("--help-keys", help="Explain every key of a recipe, or of the groups that are named.")
]


def show(settings: Settings = None, as_json: AsJson = False, help_keys: _HelpKeys = False) -> None:
    """Print a whole recipe, with defaults and search space."""
    words = list(settings or [])
    if help_keys:
        show_keys(words)
        return
    recipe = load_recipe("show", words, trust=True)  # this command imports nothing that the recipe names
    if as_json:
        print(recipe.model_dump_json(indent=1))
        return
    from gatesearch.recipe import to_yaml

    print(f"# gatesearch run {' '.join(shlex.join(words).split())}\n{to_yaml(recipe)}", end="")


def show_keys(groups: Sequence[str] = ()) -> None:
    """Print the keys of a recipe: type, range, default and meaning of each.

    Args:
        groups: the groups whose keys are printed; empty for all.

    Raises:
        UserError: there is no such group or key.
    """
    from gatesearch._lib import console
    from gatesearch.cli.documents.schemas import build_schema
    from gatesearch.recipe.keys import list_rows

    rows = list_rows(build_schema("recipe"))
    for group in groups:
        if group not in {row.key for row in rows}:
            raise unknown("show --help-keys", "group", group, [row.key for row in rows if row.type.startswith("group")])
    chosen = [row for row in rows if not groups or any(f"{row.key}.".startswith(f"{group}.") for group in groups)]
    cells = [(row.key, row.type, row.range, row.default, row.meaning) for row in chosen]
    console.table("keys of a recipe", ("key", "type", "range", "default", "meaning"), cells)


def schema(
    name: Annotated[
        str,
        typer.Argument(
            metavar="[recipe|device|plan|summary|manifest|scene]",
            help="The file to describe.",
            show_default=False,
            autocompletion=complete_schema,
        ),
    ] = "",
    write: Annotated[
        str, typer.Option("--write", metavar="DOCS", help="Write all schemas and the page of keys under a folder.")
    ] = "",
) -> None:
    """Print the JSON Schema of one of gatesearch's files."""
    from gatesearch.cli.documents import schemas

    if write:
        for path in schemas.write_pages(Path(write)):
            print(path)
    elif name:
        print(schemas.render_schema(name), end="")
    else:
        raise UserError(f"no schema named; write: gatesearch schema recipe (choices: {', '.join(schemas.MODELS)})")
