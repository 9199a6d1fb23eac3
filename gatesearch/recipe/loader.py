"""Recipes: the YAML that says everything about a run, found, overridden and checked.

>>> load("kws.yaml", ["training.epochs=3"]).training.epochs
3
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gatesearch.errors import unknown
from gatesearch.recipe import config
from gatesearch.recipe.config import Override
from gatesearch.recipe.schema import Recipe, SearchSpace, Training

__all__ = ["Recipe", "SearchSpace", "Training", "available", "find", "load", "load_space", "made", "to_yaml"]


# Mappings whose keys the user invents: one that is given takes the place of the recipe's, where groups merge.
OPEN = (("data", "negatives"), ("stream", "shares"), ("backbone_args",), ("space", "kinds"))

NAMED = (("search", "executor"),)  # groups for which a word stands for their name


def load(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Find, read, override and check a recipe.

    Args:
        name_or_path: a path, or a name in ./recipes or among the shipped recipes; ``.yaml`` may be left out.
        overrides: ``key=value`` each, dotted keys, values in YAML; the last one wins.

    Raises:
        UserError: one line that names the file or override, the key, and what would do.
    """
    path = find(name_or_path, "recipes", "recipe")
    tree = config.read(path)
    files: dict[config.Key, str] = {}
    where = config.shown_path(path)
    parsed = [_whole_or_named(Override.parse(text)) for text in overrides]
    if any(override.key == ("backbone",) for override in parsed):
        tree["backbone_args"] = {}  # those of the recipe are another network's
    for override in parsed:
        if override.key in OPEN:
            _empty(tree, override.key)
        if override.key[0] == "space" and len(override.key) > 1:
            tree = _with_space(tree, path, f"{where}: space", files)
        tree = override.apply(tree)
    by = _writer("space", where, parsed)
    tree = config.resolved(_with_space(tree, path, by, files), where, parsed)
    if tree.get("name") is None:
        tree["name"] = path.stem
    recipe = config.check(Recipe, tree, where, parsed, files)
    return recipe.model_copy(update={"device": _device(recipe.device, path, where, parsed)})


def made(tree: Mapping[str, Any], where: str) -> Recipe:
    """Return the recipe that a program has put together; its search space may be a name or a path.

    Args:
        tree: groups as in a recipe's YAML.
        where: what an error begins with.

    Raises:
        UserError: as :func:`load`.
    """
    files: dict[config.Key, str] = {}
    whole = config.resolved(_with_space(dict(tree), Path(), f"{where}: space", files), where)
    recipe = config.check(Recipe, whole, where, (), files)
    return recipe.model_copy(update={"device": _device(recipe.device, Path(), where, ())})


def load_space(name_or_path: str | Path, beside: Path | None = None) -> SearchSpace:
    """Find, read and check a search space; ``beside`` is a further folder to look in first."""
    path = find(name_or_path, "search_spaces", "search space", beside=beside)
    return config.check(SearchSpace, config.read(path), config.shown_path(path))


def to_yaml(recipe: Recipe) -> str:
    """Return the recipe, its search space inside, as YAML that :func:`load` reads back as an equal recipe."""
    return config.to_yaml(recipe.model_dump())


def available(folder: str = "recipes") -> list[str]:
    """Return the names of the YAML files in ./FOLDER and of the shipped ones."""
    return sorted({path.name for place in _places(folder) for path in place.glob("*.yaml")})


def find(name_or_path: str | Path, folder: str, what: str, where: str = "", beside: Path | None = None) -> Path:
    """Return the file that a name or path means.

    Args:
        name_or_path: as written; ``.yaml`` may be left out.
        folder: ``recipes`` or ``search_spaces``, looked for here and as shipped.
        what: what the error calls it.
        where: what the error begins with, such as the file and key that named it.
        beside: a folder to look in before these.

    Raises:
        UserError: there is no such file; names the nearest that there is.
    """
    for suffix in ("", ".yaml"):
        for place in [Path(), *([beside] if beside else []), *_places(folder)]:
            try:
                path = place / f"{Path(name_or_path).expanduser()}{suffix}"
                if path.is_file():
                    return path
            except (OSError, RuntimeError):  # a name too long for the file system, a home of nobody's
                continue
    known = available(folder)
    if not Path(name_or_path).suffix:
        known = [Path(name).stem for name in known]
    raise unknown(where or what, what, str(name_or_path), known)


def _places(folder: str) -> Iterator[Path]:
    """Yield ./FOLDER and the shipped folder: in a wheel beside this file, in a checkout one up."""
    package = Path(__file__).parent.parent
    packaged = package / f"_{folder}"
    yield Path(folder)
    yield packaged if packaged.is_dir() else package.parent / folder


def _whole_or_named(override: Override) -> Override:
    """Read ``search.executor=ray`` as ``search.executor.name=ray``."""
    if override.key in NAMED and isinstance(override.value, str):
        return replace(override, key=(*override.key, "name"))
    return override


def _empty(tree: dict[str, Any], key: config.Key) -> None:
    *groups, last = key
    for group in groups:
        found = tree.get(group)
        if not isinstance(found, dict):
            return
        tree = found
    if isinstance(tree.get(last), dict):
        tree[last] = {}


def _writer(key: str, where: str, overrides: Sequence[Override]) -> str:
    """Return what an error about a top-level key begins with: the override that set it, or file and key."""
    by = (f"override {override.text}" for override in reversed(overrides) if override.key == (key,))
    return next(by, f"{where}: {key}")


def _with_space(tree: dict[str, Any], recipe: Path, where: str, files: dict[config.Key, str]) -> dict[str, Any]:
    """Put the search space's keys in place of its name; note in ``files`` where they came from."""
    if not isinstance(tree.get("space"), str):
        return tree
    path = find(tree["space"], "search_spaces", "search space", where, recipe.parent)
    files[("space",)] = config.shown_path(path)
    return tree | {"space": config.read(path)}


def _device(written: str, recipe: Path, where: str, overrides: Sequence[Override]) -> str:
    """Return the device's name, or its file's absolute path; a missing one is told before any training."""
    for place in (recipe.parent, Path()):
        path = place / Path(written).expanduser()
        if path.suffix in (".yaml", ".yml") and path.is_file():
            return str(path.absolute())
    from gatesearch.devices import profile

    if written not in (known := profile.names()):
        raise unknown(_writer("device", where, overrides), "device", written, known)
    return written
