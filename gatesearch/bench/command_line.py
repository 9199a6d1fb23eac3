"""What benchmarks have in common on their command lines, and in the folders of their results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from gatesearch.errors import UserError, unknown
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.recipe import config

Protocol = TypeVar("Protocol", bound=BaseModel)


def parted(
    where: str, arguments: Sequence[str], keys: Sequence[str], protocol: type[BaseModel]
) -> tuple[Mapping[str, str], list[config.Override]]:
    """Part what is for a benchmark from what is for its protocol.

    Args:
        where: the benchmark, for errors.
        arguments: ``key=value`` each.
        keys: that are the benchmark's own.
        protocol: whose fields are the other keys.

    Raises:
        UserError: a key is neither's.
    """
    given, overrides = {}, []
    for text in arguments:
        key, _, value = text.partition("=")
        if key in keys and value:
            given[key] = value
        elif key in protocol.model_fields or not value:
            overrides.append(config.Override.parse(text))
        else:
            raise unknown(where, "key", key, [*keys, *protocol.model_fields])
    return given, overrides


def of_sets(
    where: str, arguments: Sequence[str], sets: Iterable[str]
) -> tuple[dict[str, str], tuple[int, ...], list[str]]:
    """Part the paths of data sets and the seeds from what is to be changed in a recipe.

    Args:
        where: the benchmark, for errors.
        arguments: ``key=value`` each; a key of a recipe has a dot in it.
        sets: the names of data sets.

    Returns:
        Absolute paths by set, seeds (0 where none are written), changes.

    Raises:
        UserError: a key is none of these, or seeds are no whole numbers.

    >>> of_sets("bench dsl", ["seeds=1,2", "search.trials=8"], ["esc10"])
    ({}, (1, 2), ['search.trials=8'])
    """
    roots: dict[str, str] = {}
    overrides: list[str] = []
    chosen: tuple[int, ...] = (0,)
    known = tuple(sets)
    for text in arguments:
        key, _, value = text.partition("=")
        if key in known:
            roots[key] = str(Path(value).expanduser().absolute())
        elif key == "seeds":
            chosen = seeds(where, value)
        elif "." in key:
            overrides.append(text)
        else:
            raise unknown(where, "key", key, [*known, "seeds", "training.epochs"])
    return roots, chosen, overrides


def one_of(where: str, key: str, written: str, choices: Iterable[str]) -> str:
    """Return what was written if it is one of the choices.

    Raises:
        UserError: it is not.
    """
    if written not in choices:
        raise unknown(f"{where}: {key}", key, written, choices)
    return written


def changed(where: str, default: Protocol, overrides: Sequence[config.Override]) -> Protocol:
    """Return a protocol with some of its keys changed.

    Raises:
        UserError: a value is none for its key.
    """
    tree = default.model_dump()
    for override in overrides:
        tree = override.apply(tree)
    return config.check(type(default), tree, where, overrides)


def seeds(where: str, written: str) -> tuple[int, ...]:
    """Read seeds.

    Raises:
        UserError: they are no whole numbers.

    >>> seeds("bench dsg", "0,2")
    (0, 2)
    """
    try:
        return tuple(int(part) for part in written.split(","))
    except ValueError:
        raise UserError(f"{where}: seeds={written}: seeds are whole numbers with commas between") from None


def keep(folder: RunFolder, wanted: Mapping[str, object]) -> None:
    """Note the settings of a folder's results, and let no others in.

    Raises:
        UserError: the folder holds results by other settings.
    """
    kept = folder.read_json("settings.json")
    if kept is None:
        folder.write_json("settings.json", dict(wanted))
    elif differing := sorted(key for key in wanted | kept if wanted.get(key) != kept.get(key)):
        key = differing[0]
        raise UserError(
            f"{folder.path}: holds results with {key} {kept.get(key)}, not {wanted.get(key)}; move it away or delete it"
        )


def public(text: str, stands_for: Mapping[str, str]) -> str:
    """Leave the user's own paths out of what is published.

    >>> public("data.root=/home/me/words", {"data.root": "WORDS"}), public("seeds=0", {})
    ('data.root=WORDS', 'seeds=0')
    """
    key, _, _ = text.partition("=")
    return f"{key}={stands_for[key]}" if key in stands_for else text
