"""Tests of overrides: absurd numbers and names give an error of one line; keys with a default can be removed."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch import recipe
from gatesearch.cli.documents.schemas import build_schema
from gatesearch.errors import UserError
from gatesearch.recipe.keys import list_rows
from gatesearch.recipe.schema.values import make_folder_name

NUMBERS = sorted(
    row.key for row in list_rows(build_schema("recipe")) if row.type.split(" | ")[0] in ("integer", "number")
)
ABSURD = ["1e-320", "5e-324", "1e308", ".inf", "-.inf", ".nan", "9" * 400, "1" + "0" * 20, "true", "'1e3'", "'3'", "-1"]
ABSURD += ["1e999", "0x" + "f" * 40, "[1]", "{a: 1}", "null", "''"]


def leaves(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return [leaf for value in tree.values() for leaf in leaves(value)]
    return [leaf for value in tree for leaf in leaves(value)] if isinstance(tree, list | tuple) else [tree]


@pytest.mark.parametrize("key", NUMBERS)
def test_absurd_numbers_are_refused_or_harmless(key: str) -> None:
    for number in random.Random(key).sample(ABSURD, 6):
        try:
            loaded = recipe.load("kws_clips.yaml", [f"{key}={number}"])
        except UserError as error:
            assert len(str(error).splitlines()) == 1 and str(error).startswith(f"override {key}="), str(error)
            continue
        for leaf in leaves(loaded.model_dump()):
            if isinstance(leaf, int | float) and not isinstance(leaf, bool):
                assert math.isfinite(leaf) and abs(leaf) <= 1e12 and (leaf == 0 or abs(leaf) >= 1e-9), (number, leaf)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("stream.period_s=1e-320", "1e-320 is out of range; it must be at least 1e-09"),
        ("training.epochs=" + "9" * 400, "a number of 1329 bits is out of range; it must be at most 4294967295"),
        ("search.executor.workers=1000000", "must be at most 10000"),
        ("backbone_args.width=.inf", "inf is not a finite number"),
        ("backbone_args.width=" + "9" * 30, "is out of range"),
        ("frontend.coefficients=[.nan]", "nan is not a finite number"),
        ("space.kinds.gc.keep=[1e999]", "inf is not a finite number"),
        ("name=../../x", "'../../x' is no name of a folder under runs/; write 'x'"),
        ("name=/etc/x", "'/etc/x' is no name of a folder under runs/; write 'etc_x'"),
        ("name=..", "'..' is no name of a folder under runs/; write 'run'"),
        ('name="a\\nb"', "is no name of a folder under runs/; write 'a_b'"),
        ("name=.hidden", "is no name of a folder"),
        ('name="a\\0b"', "is no name of a folder under runs/; write 'a_b'"),
        ("name=" + "x" * 300, "300 bytes are too long for a folder's name; at most 100"),
    ],
)
def test_the_error_quotes_the_value_and_says_what_is_wrong(override: str, words: str) -> None:
    with pytest.raises(UserError) as error:
        recipe.load("kws_clips.yaml", [override])
    assert words in str(error.value)


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_makes_a_folder_name_that_stays_under_runs(text: str) -> None:
    name = make_folder_name(text)
    folder = Path("/runs") / f"{name}-1"
    assert folder.parent == Path("/runs") and name.isprintable() and len(name.encode()) <= 100
    assert recipe.load("kws_clips.yaml", [f"name='{name}'"]).name == name if "'" not in name else True


def test_a_run_name_that_older_versions_accepted_loads_as_a_valid_name(tmp_path: Path) -> None:
    text = recipe.to_yaml(recipe.load("kws_clips.yaml"))
    (tmp_path / "recipe.yaml").write_text(text.replace("name: kws_clips\n", 'name: "my set/v1"\n', 1))
    assert recipe.load_run(tmp_path).name == "my set_v1"


def test_any_file_name_of_a_recipe_yields_a_valid_run_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = recipe.to_yaml(recipe.load("kws_clips.yaml"))
    for file_name in ("a\nb.yaml", "..x.yaml", "é.yaml", "a:b.yaml"):
        (tmp_path / file_name).write_text(text.replace("name: kws_clips\n", "", 1))
        name = recipe.load(tmp_path / file_name).name
        assert name and name.isprintable() and not name.startswith(".")


OTHER_LOADER = ["data.name=my_package.data:load", "data.path=x", "stream.shares={positive: 0.1, other: 0.9}"]


def test_an_override_of_the_loader_drops_the_arguments_of_the_old_loader() -> None:
    for name in ("kws_clips.yaml", "har_hmd.yaml", "digits_hybrid.yaml", "codec_dsl.yaml", "kws_vit_gc.yaml"):
        assert recipe.load(name, OTHER_LOADER).data.arguments == {"path": "x"}
    loaded = recipe.load("kws_clips.yaml", ["data={name: my_package.data:load, path: y}", *OTHER_LOADER[2:]])
    assert loaded.data.arguments == {"path": "y"}
    assert recipe.load("kws_clips.yaml", ["data.name=speech", "data.seed=3"]).data.arguments["clips_per_class"] == 400
    ordered = recipe.load("kws_clips.yaml", ["data.seed=3", "data.name=my_package.data:load", *OTHER_LOADER[1:]])
    assert ordered.data.arguments == {"seed": 3, "path": "x"}


def test_an_override_of_the_front_end_drops_the_arguments_of_the_old_one() -> None:
    assert recipe.load("kws_clips.yaml", ["frontend.name=log_mel"]).frontend.arguments == {}
    assert recipe.load("kws_clips.yaml", ["frontend.name=mfcc"]).frontend.arguments == {"coefficients": 10}
    assert recipe.load("kws_clips.yaml", ["frontend={name: log_mel, bands: 40}"]).frontend.arguments == {"bands": 40}


@pytest.mark.parametrize(
    "dropped",
    [
        "~data.root",
        "~data.sample_rate",
        "~backbone_args.width",
        "~backbone_args",
        "~augment",
        "~frontend.coefficients",
        "~space.kinds.gc.keep",
        "~space.gates",
        "~search.executor.workers",
        "~search.executor",
        "~stream.prevalences",
        "~retrain",
        "~retrain.epochs",
        "~title",
        "~constraints.latency_ms",
        "~export.formats",
        "~frontend",
    ],
)
def test_any_key_with_a_default_can_be_dropped(dropped: str) -> None:
    loaded = recipe.load("kws_clips.yaml", [dropped])
    again = recipe.load("kws_clips.yaml", [dropped, f"{dropped[1:]}=null"]) if dropped == "~augment" else loaded
    assert loaded == again


@pytest.mark.parametrize(
    "dropped", ["~data.roots", "~backbone_args.depth", "~space.kinds.gd", "~training.x.y", "~.", "~~seed"]
)
def test_dropping_a_missing_key_is_refused(dropped: str) -> None:
    with pytest.raises(UserError) as error:
        recipe.load("kws_clips.yaml", [dropped])
    assert str(error.value).startswith("override ") and dropped in str(error.value)
