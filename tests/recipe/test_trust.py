"""Tests that a module that a recipe names is run only if the user wrote its name or set ``trust=true``."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from gatesearch import recipe
from gatesearch._lib.plugins import import_object
from gatesearch.cli import app
from gatesearch.errors import UserError
from gatesearch.frontends import restore
from gatesearch.recipe import trust

NAMED = ["backbone=evil_module:Net"]
OTHER_USER = 12345
MARKER = "evil module was imported"
EVIL = f"""from pathlib import Path
Path('ran').write_text('{MARKER}')
from gatesearch.backbones.ds_cnn import DSCNN as Net
"""
REACHES = [
    ("data.name=evil_module:load", "data.name: 'evil_module:load' runs code of the module 'evil_module'"),
    ("backbone=a.b.evil_module:Net", "backbone: 'a.b.evil_module:Net' runs code of the module 'a.b.evil_module'"),
    ("frontend={name: 'evil_module:Mel'}", "frontend.name: 'evil_module:Mel' runs code of the module 'evil_module'"),
    ("search.executor={name: ray, address: 'ray://far:1'}", "search.executor.address: 'ray://far:1' sends the search"),
    ("search.storage=sqlite:////tmp/x", "search.storage: 'sqlite:////tmp/x' writes trials outside the run folder"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    (tmp_path / "evil_module.py").write_text(EVIL)
    return tmp_path


def write_recipe(path: Path, *overrides: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(recipe.to_yaml(recipe.load("kws_clips.yaml", overrides)))
    return path


def run_folder(*overrides: str, made_here: bool = True) -> Path:
    path = Path("runs/kws-1")
    (path / "best").mkdir(parents=True)
    loaded = recipe.load(write_recipe(path / "recipe.yaml", *overrides), trust=True)
    if made_here:
        recipe.mark_run(path, loaded)
    return path


def refusal(load: object, *arguments: object, **named: object) -> str:
    with pytest.raises(UserError) as caught:
        load(*arguments, **named)  # type: ignore[operator]
    line = str(caught.value)
    assert len(line.splitlines()) == 1 and line.endswith("; if you trust it: trust=true")
    return line


@pytest.mark.parametrize(("override", "words"), REACHES)
def test_a_run_folder_that_was_not_made_here_needs_trust(override: str, words: str) -> None:
    path = run_folder(override, made_here=False)
    line = refusal(recipe.load_run, path)
    assert words in line and "this run folder was not made here" in line
    assert recipe.load_run(path, trust=True) == recipe.load(path / "recipe.yaml", trust=True)
    assert "was not made here" in refusal(recipe.load, path / "recipe.yaml")  # also if its recipe is loaded as a file


@pytest.mark.parametrize(("override", "words"), REACHES)
def test_a_run_folder_that_was_made_here_needs_no_trust(override: str, words: str, folder: Path) -> None:
    path = run_folder(override)
    recipe.load_run(path)
    recipe.load(path / "recipe.yaml")
    key = folder / "configuration/gatesearch/run_key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600 and stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    shutil.move(path, folder / "elsewhere")
    recipe.load_run(folder / "elsewhere")


def test_a_mark_holds_for_one_recipe_and_one_user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = run_folder(*NAMED)
    mark = (path / trust.MARK_FILE).read_text()
    write_recipe(path / "recipe.yaml", "backbone=evil_module:Other")
    assert "was not made here" in refusal(recipe.load_run, path)
    write_recipe(path / "recipe.yaml", *NAMED)
    recipe.load_run(path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "somebody else's"))
    assert "was not made here" in refusal(recipe.load_run, path)
    recipe.mark_run(path, recipe.load_run(path, trust=True))
    recipe.load_run(path)
    assert (path / trust.MARK_FILE).read_text() != mark
    for damaged in ("", "0" * 64, "\xff", mark):
        (path / trust.MARK_FILE).write_text(damaged)
        assert "was not made here" in refusal(recipe.load_run, path)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o602])
def test_a_key_that_others_can_read_or_change_marks_nothing(mode: int, folder: Path) -> None:
    path = run_folder(*NAMED)
    (folder / "configuration/gatesearch/run_key").chmod(mode)
    assert "was not made here" in refusal(recipe.load_run, path)


def test_a_configuration_folder_that_cannot_be_written_is_no_error(folder: Path) -> None:
    (folder / "configuration").write_text("a file")
    path = run_folder(*NAMED)
    assert "was not made here" in refusal(recipe.load_run, path)


def test_a_recipe_that_names_nothing_leaves_no_mark_and_no_key(folder: Path) -> None:
    path = run_folder("seed=3")
    assert recipe.load_run(path).seed == 3
    assert not (path / trust.MARK_FILE).exists() and not (folder / "configuration").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_a_recipe_of_another_user_needs_trust(folder: Path) -> None:
    path = write_recipe(folder / "theirs.yaml", *NAMED)
    os.chown(path, OTHER_USER, OTHER_USER)
    assert "this file belongs to another user" in refusal(recipe.load, path)
    assert recipe.load(path, trust=True).backbone == "evil_module:Net"
    (folder / "link.yaml").symlink_to(path)
    assert "this file belongs to another user" in refusal(recipe.load, "link.yaml")
    assert recipe.load(write_recipe(folder / "plain.yaml")).backbone == "ds_cnn"


def test_a_recipe_that_everybody_can_write_needs_trust(folder: Path) -> None:
    path = write_recipe(folder / "open.yaml", *NAMED)
    path.chmod(0o666)
    assert "this file can be written by every user" in refusal(recipe.load, path)
    path.chmod(0o664)
    recipe.load(path)
    inner = write_recipe(folder / "inner/mine.yaml", *NAMED)
    inner.parent.chmod(0o777)
    assert "its folder can be written by every user" in refusal(recipe.load, inner)
    inner.parent.chmod(0o1777)  # the sticky bit, as /tmp has it: other users cannot replace a file
    recipe.load(inner)


def test_overrides_on_the_command_line_need_no_trust(folder: Path) -> None:
    path = write_recipe(folder / "open.yaml", *NAMED, "title='evil_module:Net'")
    path.chmod(0o666)
    assert recipe.load(path, ["backbone=my_nets:Net"]).backbone == "my_nets:Net"
    assert "can be written" in refusal(recipe.load, path, ["backbone=${title}"])  # the value of title is in the file
    assert "can be written" in refusal(recipe.load, path, ["backbone_args.x=1", "seed=1"])


@pytest.mark.parametrize("step", ["search", "retrain", "export", "verify", "report", "dashboard"])
def test_no_step_on_a_strangers_folder_imports_its_module(
    step: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_folder(*NAMED, made_here=False)
    assert app.main([step, str(path)]) == 2
    assert "runs code of the module 'evil_module'" in capsys.readouterr().err
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("words", [["run"], ["sites"], ["measure"], ["scaling"], ["measure", "kit=kit"]])
def test_no_command_on_a_strangers_recipe_imports_its_module(
    words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recipe(folder / "open.yaml", *NAMED).chmod(0o666)
    assert app.main([*words, "recipe=open.yaml"]) == 2
    assert "trust=true" in capsys.readouterr().err
    assert not (folder / "ran").exists() and not (folder / "runs").exists()
    assert app.main(["show", "recipe=open.yaml"]) == 0  # show imports nothing
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    "path",
    [
        "os:system",
        "subprocess:Popen",
        "builtins:eval",
        "os.path:join",
        "shutil:rmtree",
        "importlib:import_module",
        "pickle:loads",
        "runpy:run_path",
        "ctypes:CDLL",
        "webbrowser:open",
        "posix:system",
        "code:interact",
    ],
)
def test_pythons_own_library_is_no_plug_in(path: str) -> None:
    with pytest.raises(UserError, match=r"backbone: .* is of Python's own module") as error:
        import_object(path, "backbone")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "line",
    [
        "from os import system as Net",
        "from subprocess import run as Net",
        "Net = eval",
        "from shutil import rmtree as Net",
        "import functools, os\nNet = functools.partial(os.system, 'touch ran')",
        "from pickle import loads as Net",
    ],
)
def test_pythons_own_library_under_another_name_is_no_plug_in(
    line: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "disguise.py").write_text(line)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(__import__("sys").modules, "disguise", raising=False)
    with pytest.raises(UserError, match="is of Python's own module"):
        import_object("disguise:Net", "backbone")


def test_a_manifest_names_installed_front_ends_alone() -> None:
    with pytest.raises(UserError, match="runs code of a module"):
        restore({"name": "evil_module:Mel", "args": {}})
