"""Checks values against a schema; an error names the file or the override, the key and the value.

A schema is any pydantic model. This module does not depend on what a recipe holds.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gatesearch.errors import quote
from gatesearch.recipe.errors import INVALID, describe_unknown, fail, write_key
from gatesearch.recipe.overrides import Key, Override, last_writer

Model = TypeVar("Model", bound=BaseModel)

_EXPECTED = {
    "int": "an integer",
    "float": "a number",
    "finite": "a finite number",
    "string": "text",
    "bool": "true or false",
    "tuple": "a list",
    "list": "a list",
    "dict": "a group of keys",
    "model": "a group of keys",
}
_LIMITS = {
    "greater_than": "above",
    "greater_than_equal": "at least",
    "less_than": "below",
    "less_than_equal": "at most",
}
_BOOLEAN_TRAP = 'YAML reads unquoted yes, no, on and off as booleans; quote the word, as in "yes"'


def check(
    schema: type[Model],
    tree: Mapping[str, Any],
    where: str,
    overrides: Sequence[Override] = (),
    files: Mapping[Key, str] | None = None,
) -> Model:
    """Return a tree of values as an instance of a schema.

    Args:
        schema: the pydantic model.
        tree: the values in plain containers, after all overrides.
        where: the name of the tree's file, for errors.
        overrides: the overrides that were applied, in order. An error about a value that an override wrote names the
            override, not the file.
        files: groups that came from another file, such as ``{("space",): "search_spaces/kws_gc.yaml"}``.

    Raises:
        UserError: the first error. An unknown key is reported before a missing key, which it often explains.
    """
    try:
        return schema.model_validate(tree)
    except RecursionError:
        fail(where, "nested too deeply")
    except ValidationError as error:
        details = sorted(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")[0]
    keys = _keys_of_error(details, tree)
    key = next((key for key in keys if last_writer(key, overrides)), keys[0])
    message = _message(details, key, schema)
    if dropped := _dropped(details, key, overrides):
        fail(f"override {dropped.text}", f"{message}; it has no default")
    if override := last_writer(key, overrides):
        fail(f"override {override.text}", message if override.key == key else f"{'.'.join(key)}: {message}")
    for group, file in (files or {}).items():
        if key[: len(group)] == group:
            where, key = file, key[len(group) :]
    fail(f"{where}: {'.'.join(key)}" if key else where, message)


def list_keys(schema: type[BaseModel]) -> Iterator[Key]:
    """Yield every key that a schema names, each group before its own keys."""
    for name, field in schema.model_fields.items():
        yield (name,)
        for group in _models(field.annotation):
            yield from ((name, *key) for key in list_keys(group))


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the pydantic models in an annotation such as ``Speech | Plugin | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _dropped(details: ErrorDetails, group: Key, overrides: Sequence[Override]) -> Override | None:
    """Return the override that removed a key which the error reports as missing."""
    if details["type"] != "missing":
        return None
    missing = (*group, str(details["loc"][-1]))
    return next((override for override in overrides if override.drops and override.key == missing), None)


def _keys_of_error(details: ErrorDetails, tree: Any) -> list[Key]:
    """Return the keys that an error is about: pydantic's location without the names of union branches."""
    key: list[str] = []
    for step in details["loc"]:
        child = _child(tree, step)
        if child is not None:
            key.append(str(step))
            tree = child[0]
    inner_keys = details.get("ctx", {}).get("keys", ()) if details["type"] == INVALID else ()
    return [(*key, *inner.split(".")) for inner in inner_keys] or [tuple(key)]


def _child(tree: Any, step: str | int) -> tuple[Any] | None:
    if isinstance(tree, Mapping):
        # pydantic locates a key that is not text (an unquoted `no:`) by its text.
        return next(((value,) for name, value in tree.items() if write_key(name) == str(step)), None)
    inside = isinstance(tree, list | tuple) and isinstance(step, int) and step < len(tree)
    return (tree[step],) if inside else None


def _message(details: ErrorDetails, key: Key, schema: type[BaseModel]) -> str:
    """Return the line that says what is wrong with a key, from pydantic's details."""
    kind, written, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(key, schema)
    if build := _MESSAGES.get(kind):
        return build(details, key)
    if kind in _LIMITS:
        limit = next(iter(context.values()))
        limit = f"{limit:g}" if isinstance(limit, float) else limit
        return f"{_shorten(written)} is out of range; it must be {_LIMITS[kind]} {limit}"
    if (kind == "string_type" and isinstance(written, bool)) or _is_boolean_word(written):
        return f"{_shorten(written)} is not text; {_BOOLEAN_TRAP}"
    if expected := _EXPECTED.get(kind.split("_")[0]):
        return f"{_shorten(written)} is not {expected}"
    return f"{_shorten(written)}: {details['msg']}"


def _missing(details: ErrorDetails, key: Key) -> str:
    name = details["loc"][-1]
    return f"missing key {name!r}" if isinstance(name, str) else "too few values"


def _unknown_choice(details: ErrorDetails, key: Key) -> str:
    choices = re.findall(r"'([^']*)'", str(details["ctx"]["expected"]))
    name = next((step for step in reversed(key) if not step.isdigit()), key[-1])  # entries of a list have a number
    return describe_unknown(name, write_key(details["input"]), choices)


def _too_long(details: ErrorDetails, key: Key) -> str:
    context = details["ctx"]
    return f"{context['actual_length']} values, where {context['max_length']} are expected"


_MESSAGES: Mapping[str, Callable[[ErrorDetails, Key], str]] = {
    "missing": _missing,
    "literal_error": _unknown_choice,
    "too_long": _too_long,
    "too_short": lambda details, key: "empty",
    "string_too_short": lambda details, key: "empty",
    INVALID: lambda details, key: str(details["ctx"]["message"]),
}


def _unknown_key(key: Key, schema: type[BaseModel]) -> str:
    """Return the message on an unknown key, with the key that the user probably meant.

    That is a similar name in the same group, else the same name in another group, else a less similar name.
    """
    *group, written = key
    keys = list(list_keys(schema))
    siblings = list(dict.fromkeys(each[-1] for each in keys if each[:-1] == tuple(group)))
    elsewhere = {each[-1]: ".".join(each) for each in reversed(keys)}
    near = _closest(written, siblings, 0.75) or elsewhere.get(written) or _closest(written, siblings, 0.6)
    near = near or elsewhere.get(_closest(written, elsewhere, 0.75) or "")
    return f"unknown key {written!r}; " + (f"nearest: {near!r}" if near else f"choices: {', '.join(siblings)}")


def _closest(written: str, choices: Iterable[str], cutoff: float) -> str | None:
    return next(iter(difflib.get_close_matches(written, list(choices), n=1, cutoff=cutoff)), None)


def _shorten(value: Any) -> str:
    """Return a value as YAML writes it, cut short."""
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else quote(value)


def _is_boolean_word(value: Any) -> bool:
    return isinstance(value, str) and value in ("True", "False")
