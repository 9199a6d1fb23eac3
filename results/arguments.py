"""Reads the arguments ``key=value`` that the user writes after ``gatesearch bench NAME``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from gatesearch.errors import UserError, unknown
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.recipe.check import check
from gatesearch.recipe.overrides import Override, split_argument

Protocol = TypeVar("Protocol", bound=BaseModel)


def read_keys(where: str, arguments: Sequence[str], keys: Sequence[str]) -> dict[str, str]:
    """Return the values of arguments by key.

    Args:
        where: name of the benchmark, for errors.
        arguments: strings ``key=value``.
        keys: the valid keys.

    Raises:
        UserError: a key is not valid, or has no value.
    """
    values = {}
    for text in arguments:
        key, value = split_argument(text)
        if key not in keys:
            raise unknown(where, "key", key, keys)
        if not value:
            raise UserError(f"{where}: {text}: no value; write {key}=VALUE")
        values[key] = value
    return values


def split_protocol(
    where: str, arguments: Sequence[str], keys: Sequence[str], protocol: type[BaseModel]
) -> tuple[dict[str, str], list[Override]]:
    """Split arguments into values of the benchmark and overrides of its protocol.

    Args:
        where: name of the benchmark, for errors.
        arguments: strings ``key=value``.
        keys: keys of the benchmark.
        protocol: class whose fields are the other valid keys.

    Raises:
        UserError: a key belongs neither to the benchmark nor to its protocol.
    """
    values: dict[str, str] = {}
    overrides = []
    for text in arguments:
        key, value = split_argument(text)
        if key in keys and value:
            values[key] = value
        elif key in protocol.model_fields or not value:
            overrides.append(Override.parse(text))
        else:
            raise unknown(where, "key", key, [*keys, *protocol.model_fields])
    return values, overrides


def split_data_sets(
    where: str, arguments: Sequence[str], data_sets: Iterable[str], recipe_keys: Sequence[str] = ()
) -> tuple[dict[str, str], tuple[int, ...], list[str]]:
    """Split arguments into paths of data sets, seeds, and overrides of a recipe.

    Args:
        where: name of the benchmark, for errors.
        arguments: strings ``key=value``; a key with a dot belongs to the recipe.
        data_sets: names of the data sets.
        recipe_keys: keys without a dot that belong to the recipe.

    Returns:
        The absolute path of each data set that the arguments name; the seeds, by default only 0; the overrides.

    Raises:
        UserError: a key is not valid, or a seed is no whole number.

    >>> split_data_sets("bench dsl", ["seeds=1,2", "search.trials=8"], ["esc10"])
    ({}, (1, 2), ['search.trials=8'])
    """
    roots: dict[str, str] = {}
    overrides: list[str] = []
    seeds: tuple[int, ...] = (0,)
    names = tuple(data_sets)
    for text in arguments:
        key, value = split_argument(text)
        if key in names:
            roots[key] = str(Path(value).expanduser().absolute())
        elif key == "seeds":
            seeds = read_seeds(where, value)
        elif "." in key or key in recipe_keys:
            overrides.append(text)
        else:
            raise unknown(where, "key", key, [*names, "seeds", *recipe_keys, "training.epochs"])
    return roots, seeds, overrides


def split_seeds(where: str, arguments: Sequence[str], seeds: tuple[int, ...]) -> tuple[tuple[int, ...], list[str]]:
    """Split arguments into seeds and overrides of a recipe.

    Args:
        where: name of the benchmark, for errors.
        arguments: strings ``key=value``; ``seeds=0,1`` belongs to the benchmark, all others to the recipe.
        seeds: default seeds, for arguments without ``seeds=``.

    Raises:
        UserError: a seed is no whole number.

    >>> split_seeds("bench kws", ["seeds=0,2", "data.root=words"], (0,))
    ((0, 2), ['data.root=words'])
    """
    overrides = []
    for text in arguments:
        key, value = split_argument(text)
        if key == "seeds":
            seeds = read_seeds(where, value)
        else:
            overrides.append(text)
    return seeds, overrides


def check_choice(where: str, key: str, written: str, choices: Iterable[str], what: str | None = None) -> str:
    """Return the value of an argument if it is one of the choices.

    Args:
        where: name of the benchmark, for errors.
        key: key of the argument.
        written: value of the argument.
        choices: the valid values.
        what: word for a choice in the error message; None: the key.

    Raises:
        UserError: the value is not one of the choices.
    """
    names = tuple(choices)
    if written not in names:
        raise unknown(f"{where}: {key}", what or key, written, names)
    return written


def check_choices(where: str, key: str, written: str, choices: Iterable[str], what: str | None = None) -> list[str]:
    """Return the values of an argument that lists several choices with commas; see :func:`check_choice`.

    Raises:
        UserError: a value is not one of the choices.
    """
    names = tuple(choices)
    return [check_choice(where, key, part, names, what) for part in written.split(",")]


def read_count(where: str, key: str, written: str) -> int:
    """Return the value of an argument as a whole number, at least 1.

    Raises:
        UserError: the value is no such number.
    """
    if not written.isdigit() or int(written) < 1:
        raise UserError(f"{where}: {key}={written}: not a whole number from 1")
    return int(written)


def read_seeds(where: str, written: str) -> tuple[int, ...]:
    """Return the seeds that an argument lists with commas.

    Raises:
        UserError: a seed is no whole number.

    >>> read_seeds("bench dsg", "0,2")
    (0, 2)
    """
    try:
        return tuple(int(part) for part in written.split(","))
    except ValueError:
        raise UserError(f"{where}: seeds={written}: seeds are whole numbers with commas between") from None


def change_protocol(where: str, default: Protocol, overrides: Sequence[Override]) -> Protocol:
    """Return a protocol with overrides of some keys.

    Raises:
        UserError: a value does not fit its key.
    """
    tree = default.model_dump()
    for override in overrides:
        tree = override.apply(tree)
    return check(type(default), tree, where, overrides)


def lock_settings(folder: RunFolder, settings: Mapping[str, object]) -> None:
    """Make sure that all results of a folder have the same settings.

    The first call writes the settings to settings.json. Later calls compare their settings with this file.

    Raises:
        UserError: the folder holds results of other settings.
    """
    before = folder.read_json("settings.json")
    if before is None:
        folder.write_json("settings.json", dict(settings))
    elif differing := sorted(key for key in settings | before if settings.get(key) != before.get(key)):
        key = differing[0]
        raise UserError(
            f"{folder.path}: holds results with {key} {before.get(key)}, not {settings.get(key)}; move it away or "
            "delete it"
        )
