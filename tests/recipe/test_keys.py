"""Tests that every key of a recipe has a description, and that the generated pages are up to date."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from gatesearch import recipe
from gatesearch.cli import app
from gatesearch.cli.documents import schemas
from gatesearch.devices import profile
from gatesearch.errors import UserError
from gatesearch.recipe.check import list_keys
from gatesearch.recipe.keys import list_rows
from gatesearch.recipe.schema import Recipe

DOCS = Path(__file__).parents[2] / "docs"
DESCRIBED_MODELS = [name for name in schemas.MODELS if name != "device"]  # some keys of devices have no sentence

UNITS = {
    "_ms": "(ms)",
    "_s": "(s)",
    "_us": "(us)",
    "_uj": "(uJ)",
    "_db": "(dB)",
    "seconds": "seconds",
    "sample_rate": "(Hz)",
    "epochs": "Epochs|Passes over the training split",
}


def fields_of(model: type[BaseModel]) -> list[tuple[str, str]]:
    """Return the dotted name and the description of every field of a model and of the models in it."""
    definitions = model.model_json_schema()
    groups = {"": definitions, **definitions.get("$defs", {})}
    fields = []
    for group, schema in groups.items():
        for name, field in schema.get("properties", {}).items():
            referenced = groups.get(field.get("$ref", "").rpartition("/")[2], {}) if "$ref" in field else {}
            fields.append((f"{group}.{name}", field.get("description") or referenced.get("description", "")))
    return fields


@pytest.mark.parametrize("name", DESCRIBED_MODELS)
def test_every_field_has_a_sentence(name: str) -> None:
    without = [key for key, text in fields_of(schemas.find_model(name)) if not text.endswith(".")]
    assert without == []


@pytest.mark.parametrize("name", DESCRIBED_MODELS)
def test_a_description_names_the_unit_that_its_key_ends_with(name: str) -> None:
    for key, text in fields_of(schemas.find_model(name)):
        for suffix, unit in UNITS.items():
            if key.endswith(suffix):
                assert any(each in text for each in unit.split("|")), key


def test_the_page_of_keys_has_a_row_for_every_key_of_a_recipe() -> None:
    rows = {row.key: row for row in list_rows(schemas.build_schema("recipe"))}
    assert set(rows) >= {".".join(key) for key in list_keys(Recipe)}
    assert (rows["training.epochs"].range, rows["training.epochs"].default) == (">= 1", "40")
    assert rows["stream.shares"].range == "each >= 0 and <= 1"
    assert rows["search.sampler"].type == "gate | tpe | nsga2 | random"
    assert rows["data.root"].meaning.startswith("Speech: folder with a folder of WAV files for each class;")
    assert rows["device"].default == ""


@pytest.mark.parametrize("name", schemas.MODELS)
def test_committed_schemas_are_up_to_date(name: str) -> None:
    path = DOCS / "schemas" / f"{name}.json"
    assert path.read_text() == schemas.render_schema(name), f"out of date; run: {schemas.COMMAND}"


def test_page_of_keys_is_up_to_date() -> None:
    assert (DOCS / "recipes.md").read_text() == schemas.render_recipe_page(), f"out of date; run: {schemas.COMMAND}"


def test_command_writes_schemas_and_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["schema", "--write", str(tmp_path)]) == 0
    assert (tmp_path / "recipes.md").is_file() and len(list((tmp_path / "schemas").iterdir())) == len(schemas.MODELS)
    capsys.readouterr()
    assert app.main(["schema", "plan"]) == 0
    schema: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert schema["$id"] == "urn:gatesearch:plan:1"
    with pytest.raises(UserError, match="unknown schema 'plam'; nearest: 'plan'"):
        schemas.build_schema("plam")


def test_help_keys_prints_the_groups_that_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["show", "--help-keys", "training"]) == 0
    output = capsys.readouterr().out
    assert "training.epochs" in output and "search.trials" not in output
    assert max(map(len, output.splitlines())) <= 100
    assert app.main(["show", "--help-keys", "trainig"]) == 2
    assert "unknown group 'trainig'; nearest: 'training'" in capsys.readouterr().err


@pytest.mark.parametrize("name", recipe.available())
def test_shipped_recipes_fit_the_json_schema(name: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    tree = yaml.safe_load(recipe.find(name, "recipes", "recipe").read_text())
    jsonschema.Draft202012Validator(schemas.build_schema("recipe")).validate(tree)


@pytest.mark.parametrize("name", profile.names())
def test_shipped_devices_fit_the_json_schema(name: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    document = json.loads(profile.load(name).model_dump_json(exclude_none=True))
    jsonschema.Draft202012Validator(schemas.build_schema("device")).validate(document)
