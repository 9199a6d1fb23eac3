"""Loads a recipe: finds its file, reads it, applies overrides and checks it.

>>> load("kws_clips.yaml", ["training.epochs=3"]).training.epochs
3
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gatesearch.errors import UserError, unknown
from gatesearch.recipe.check import check
from gatesearch.recipe.file_lookup import find
from gatesearch.recipe.overrides import Key, Override
from gatesearch.recipe.references import resolve
from gatesearch.recipe.schema import Recipe, SearchSpace
from gatesearch.recipe.schema.search import REMOVED_SEARCH_KEYS, find_removed_keys
from gatesearch.recipe.schema.values import make_folder_name
from gatesearch.recipe.trust import require_own_file, require_own_run
from gatesearch.recipe.yaml_file import dump_yaml, read_yaml, relative_path

# Mappings whose keys the user chooses. An override of such a mapping replaces it; an override of another group is
# merged with the group.
OPEN_MAPPINGS: tuple[Key, ...] = (("data", "negatives"), ("stream", "shares"), ("backbone_args",), ("space", "kinds"))

# Groups whose key `name` names a plug-in. The other keys of such a group are arguments of the plug-in.
GROUPS_OF_ARGUMENTS = ("data", "frontend")

# Groups that an override may set to a single word, which is the value of their key `name`.
GROUPS_WITH_A_NAME: tuple[Key, ...] = (("search", "executor"),)


def load(name_or_path: str | Path, overrides: Sequence[str] = (), *, trust: bool = False) -> Recipe:
    """Find, read, override and check a recipe.

    Args:
        name_or_path: a path, or a name in ./recipes or among the shipped recipes; ``.yaml`` may be left out.
        overrides: ``key=value`` with dotted keys and values in YAML, or ``~key`` to drop a key; the last one wins.
        trust: whether the recipe may name modules and clusters even if another person wrote the recipe; see
            :mod:`gatesearch.recipe.trust`.

    Raises:
        UserError: the recipe is wrong; the error names the file or override, the key, and the nearest valid choice.
    """
    path = find(name_or_path, "recipes", "recipe")
    parsed = [_expand_name(Override.parse(text)) for text in overrides]
    recipe = _load(path, read_yaml(path), parsed)
    if not trust:
        require_own_file(recipe, path, parsed)
    return recipe


def load_run(folder: Path, *, trust: bool = False) -> Recipe:
    """Return the recipe of a run folder, and warn of its keys that later versions removed.

    Args:
        folder: the folder of the run.
        trust: whether the recipe may name modules and clusters even if this user did not make the run on this machine.

    Raises:
        UserError: the folder holds no recipe, or the recipe is wrong.
    """
    path = folder / "recipe.yaml"
    if not path.is_file():
        raise UserError(f"{folder}: not a run folder: it holds no recipe.yaml")
    tree = read_yaml(path)
    search = tree.get("search")
    removed = find_removed_keys(search) if isinstance(search, Mapping) else []
    if removed:
        from gatesearch._lib import console  # imports rich, which --help does not need

        names = ", ".join(f"search.{key}" for key in removed)
        console.warn(f"{relative_path(path)}: {names}: removed since this run began, and without effect now")
        tree["search"] = {key: value for key, value in tree["search"].items() if key not in REMOVED_SEARCH_KEYS}
    if isinstance(tree.get("name"), str):
        tree["name"] = make_folder_name(tree["name"])  # older versions took any text
    if isinstance(tree.get("stream"), Mapping):
        tree["stream"] = {"by": "windows", **tree["stream"]}  # before this key existed, every run worked by windows
    recipe = _load(path, tree)
    if not trust:
        require_own_run(recipe, folder)
    return recipe


def build_recipe(tree: Mapping[str, Any], where: str) -> Recipe:
    """Return the recipe that a program has built as a tree; its search space may be a name or a path.

    Args:
        tree: groups as in a recipe's YAML.
        where: the beginning of an error.

    Raises:
        UserError: the recipe is wrong; the error names the key and the nearest valid choice.
    """
    files: dict[Key, str] = {}
    whole = resolve(_with_space(dict(tree), Path(), f"{where}: space", files), where)
    recipe = check(Recipe, whole, where, (), files)
    return recipe.model_copy(update={"device": _find_device(recipe.device, Path(), where, ())})


def load_space(name_or_path: str | Path, beside: Path | None = None) -> SearchSpace:
    """Find, read and check a search space; ``beside`` is a further folder to search."""
    path = find(name_or_path, "search_spaces", "search space", beside=beside)
    return check(SearchSpace, read_yaml(path), relative_path(path))


def to_yaml(recipe: Recipe) -> str:
    """Return the recipe with its search space as YAML, from which :func:`load` builds an equal recipe."""
    return dump_yaml(recipe.model_dump())


def _load(path: Path, tree: dict[str, Any], parsed: Sequence[Override] = ()) -> Recipe:
    """Return the checked recipe of a file's tree with overrides.

    Overrides apply in their order. Before an override of a key of the search space, the space's file is read.
    """
    files: dict[Key, str] = {}
    where = relative_path(path)
    if any(override.key == ("backbone",) for override in parsed):
        tree["backbone_args"] = {}  # the file's arguments belong to another network
    tree = _without_keys_of_another(tree, parsed)
    for override in parsed:
        if override.key in OPEN_MAPPINGS and not override.drops:
            _clear(tree, override.key)
        if override.key[0] == "space" and len(override.key) > 1:
            tree = _with_space(tree, path, f"{where}: space", files)
        tree = override.apply(tree)
    writer = _writer("space", where, parsed)
    tree = resolve(_with_space(tree, path, writer, files), where, parsed)
    if tree.get("name") is None:
        tree["name"] = make_folder_name(path.stem)
    recipe = check(Recipe, tree, where, parsed, files)
    return recipe.model_copy(update={"device": _find_device(recipe.device, path, where, parsed)})


def _without_keys_of_another(tree: dict[str, Any], overrides: Sequence[Override]) -> dict[str, Any]:
    """Drop the file's arguments of a data set or a front end, if an override names another data set or front end.

    Keys that an override sets or drops stay, so that the override finds them.
    """
    for group in GROUPS_OF_ARGUMENTS:
        written = tree.get(group)
        names = [name for override in overrides if (name := _name_written(override, group)) is not None]
        if not isinstance(written, dict) or not names or names[-1] == written.get("name"):
            continue
        touched = {override.key[1] for override in overrides if override.key[0] == group and len(override.key) > 1}
        tree = tree | {group: {key: value for key, value in written.items() if key == "name" or key in touched}}
    return tree


def _name_written(override: Override, group: str) -> Any:
    """Return the name that an override gives to a group; None if it gives none."""
    if override.key == (group, "name"):
        return override.value
    return override.value.get("name") if override.key == (group,) and isinstance(override.value, dict) else None


def _expand_name(override: Override) -> Override:
    """Read ``search.executor=ray`` as ``search.executor.name=ray``."""
    if override.key in GROUPS_WITH_A_NAME and isinstance(override.value, str):
        return replace(override, key=(*override.key, "name"))
    return override


def _clear(tree: dict[str, Any], key: Key) -> None:
    """Empty the mapping at a key, if there is one."""
    *groups, last = key
    for group in groups:
        inner = tree.get(group)
        if not isinstance(inner, dict):
            return
        tree = inner
    if isinstance(tree.get(last), dict):
        tree[last] = {}


def _writer(key: str, where: str, overrides: Sequence[Override]) -> str:
    """Return the beginning of an error about a top-level key: the override that set it, or the file and the key."""
    texts = (f"override {override.text}" for override in reversed(overrides) if override.key == (key,))
    return next(texts, f"{where}: {key}")


def _with_space(tree: dict[str, Any], recipe: Path, where: str, files: dict[Key, str]) -> dict[str, Any]:
    """Replace the name of a search space by the keys of its file, and add that file to ``files``."""
    if not isinstance(tree.get("space"), str):
        return tree
    path = find(tree["space"], "search_spaces", "search space", where, recipe.parent)
    files[("space",)] = relative_path(path)
    return tree | {"space": read_yaml(path)}


def _find_device(written: str, recipe: Path, where: str, overrides: Sequence[Override]) -> str:
    """Return the device's name, or its file's absolute path; a missing device is an error before any training."""
    for place in (recipe.parent, Path()):
        path = place / os.path.expanduser(written)
        # isfile and expanduser of os.path raise no error, even where a path is too long or "~user" has no home.
        if path.suffix in (".yaml", ".yml") and os.path.isfile(path):
            return str(path.absolute())
    from gatesearch.devices import profile

    names = profile.names()
    if written not in names:
        raise unknown(_writer("device", where, overrides), "device", written, names)
    return written
