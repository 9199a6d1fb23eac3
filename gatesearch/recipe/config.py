"""Settings from YAML: read a file, lay ``key=value`` overrides over it, check it against a schema.

Knows nothing of recipes: a schema is any pydantic model. Whatever is wrong with what the user wrote ends as
one :class:`~gatesearch.errors.UserError` line: the file (or the override), the key, what was written.
"""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from gatesearch.errors import UserError, unknown

Key = tuple[str, ...]
Model = TypeVar("Model", bound=BaseModel)

_KEY = re.compile(r"[\w*-]+(\.[\w*-]+)*")
_NOT_A = {
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


def fail(where: str, message: str) -> NoReturn:
    """Raise the :class:`UserError` ``where: message``, on one line whatever the user wrote."""
    raise UserError(" ".join(f"{where}: {message}".split()))


def wrong(message: str, *keys: str) -> PydanticCustomError:
    """Build what a schema's own validator raises about ``keys`` (dotted, seen from the validated model)."""
    return PydanticCustomError("wrong", "{message}", {"message": message, "keys": keys})


def read(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file, interpolations resolved.

    Raises:
        UserError: the file cannot be read, is not UTF-8, not YAML, empty, or no mapping.
    """
    where = shown_path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        loaded = OmegaConf.load(io.StringIO(text))
    except UnicodeDecodeError as error:
        fail(where, f"not UTF-8 text (byte {error.start})")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        fail(where, f"{place}{error.problem or error.context}")
    except yaml.YAMLError as error:
        fail(where, str(error))
    except OmegaConfBaseException as error:
        fail(where, _first_line(error))
    except RecursionError:
        fail(where, "nested too deeply")
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.strerror:
            fail(where, f"cannot be read: {error.strerror}")
        fail(where, "not a mapping of keys to values at its top level")
    if not OmegaConf.is_dict(loaded):
        fail(where, "a list at its top level, where keys are expected")
    if not loaded:
        fail(where, "empty")
    return resolved(loaded, where)


def resolved(tree: Any, where: str, overrides: Sequence[Override] = ()) -> dict[str, Any]:
    """Return plain containers with every ``${...}`` replaced by what it stands for."""
    try:
        plain = OmegaConf.to_container(OmegaConf.create(tree), resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = str(getattr(error, "full_key", None) or "")
        if override := _override(tuple(key.split(".")), overrides):
            fail(f"override {override.text}", _first_line(error))
        fail(f"{where}: {key}" if key else where, _first_line(error))
    except RecursionError:
        fail(where, "nested too deeply")
    return _mapping(plain)


@dataclass(frozen=True, slots=True)
class Override:
    """A ``key=value`` of the command line; the value is read as YAML.

    >>> Override.parse("training.epochs=3")
    Override(text='training.epochs=3', key=('training', 'epochs'), value=3)
    """

    text: str
    key: Key
    value: Any

    @classmethod
    def parse(cls, text: str) -> Override:
        """Read one override; UserError where it has no key, no value, or is no YAML."""
        where = f"override {text!r}"
        key, equals, written = text.partition("=")
        if not equals:
            hint = f"; did you mean recipe={text}?" if text.endswith((".yaml", ".yml")) else ""
            fail(where, f"no '=' in it; write key=value, such as training.epochs=40{hint}")
        if not key:
            fail(where, "no key before '='; write key=value, such as training.epochs=40")
        if not _KEY.fullmatch(key):
            fail(where, f"{key!r} is no key; write names parted by dots, such as training.epochs=40")
        try:
            value = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={written}"]))["value"]  # type: ignore[index,call-overload]
        except (yaml.YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
            fail(where, f"the value is not YAML: {getattr(error, 'problem', None) or _first_line(error)}")
        return cls(text, tuple(key.split(".")), value)

    def apply(self, tree: dict[str, Any]) -> dict[str, Any]:
        """Return the tree with the value at its key: groups merge, everything else is replaced."""
        config = OmegaConf.create(tree)
        try:
            OmegaConf.update(config, ".".join(self.key), self.value, merge=True, force_add=True)
            changed = OmegaConf.to_container(config)
        except (OmegaConfBaseException, TypeError, RecursionError) as error:
            fail(f"override {self.text}", f"cannot be set: {_first_line(error)}")
        except ValueError:
            fail(f"override {self.text}", "cannot be set: entries of a list have numbers, not names")
        return _mapping(changed)


def check(
    schema: type[Model],
    tree: Mapping[str, Any],
    where: str,
    overrides: Sequence[Override] = (),
    files: Mapping[Key, str] | None = None,
) -> Model:
    """Return ``tree`` as a ``schema``.

    Args:
        schema: the pydantic model.
        tree: plain containers, overrides applied.
        where: the file that the tree came from, as the user knows it.
        overrides: what was applied, in order: an error about such a value names the override, not the file.
        files: groups that came from another file, such as ``{("space",): "search_spaces/kws_gc.yaml"}``.

    Raises:
        UserError: the first thing wrong; an unknown key goes before a missing one, which it often explains.
    """
    try:
        return schema.model_validate(tree)
    except RecursionError:
        fail(where, "nested too deeply")
    except ValidationError as error:
        details = sorted(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")[0]
    keys = _places(details, tree)
    at = next((key for key in keys if _override(key, overrides)), keys[0])
    message = _message(details, at, schema)
    if override := _override(at, overrides):
        fail(f"override {override.text}", message if override.key == at else f"{'.'.join(at)}: {message}")
    for group, file in (files or {}).items():
        if at[: len(group)] == group:
            where, at = file, at[len(group) :]
    fail(f"{where}: {'.'.join(at)}" if at else where, message)


def keys_of(schema: type[BaseModel]) -> Iterator[Key]:
    """Yield every key that a schema names, groups before what is in them."""
    for name, field in schema.model_fields.items():
        yield (name,)
        for group in _models(field.annotation):
            yield from ((name, *key) for key in keys_of(group))


def shown_path(path: Path) -> str:
    """Return a path as a user would write it: relative where it lies under the working folder."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def to_yaml(values: Mapping[str, Any]) -> str:
    """Return YAML that :func:`read` reads back as the same values; lists and small groups take a line."""
    return yaml.dump(
        dict(values), Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=110
    )


class _Dumper(yaml.SafeDumper):
    """Quotes all but plain words: OmegaConf reads unquoted text as numbers that PyYAML does not (1e-3)."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if re.fullmatch(r"[A-Za-z_][\w ./-]*", text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def _mapping(value: Any) -> dict[str, Any]:
    assert isinstance(value, dict)
    return value


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the pydantic models in an annotation such as ``Speech | Plugin | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _override(key: Key, overrides: Sequence[Override]) -> Override | None:
    """Return the last override that wrote the value at ``key``, what holds it or part of it."""

    def touches(written: Key) -> bool:
        shared = min(len(written), len(key))
        return shared > 0 and written[:shared] == key[:shared]

    return next((override for override in reversed(overrides) if touches(override.key)), None)


def _places(details: ErrorDetails, tree: Any) -> list[Key]:
    """Return the keys that an error is about: pydantic's location without the names of union branches."""
    key: list[str] = []
    for step in details["loc"]:
        child = _child(tree, step)
        if child is not None:
            key.append(str(step))
            tree = child[0]
    about = details.get("ctx", {}).get("keys", ()) if details["type"] == "wrong" else ()
    return [(*key, *inner.split(".")) for inner in about] or [tuple(key)]


def _child(tree: Any, step: str | int) -> tuple[Any] | None:
    if isinstance(tree, Mapping):
        # pydantic locates a key that is not text (an unquoted `no:`) by its text.
        return next(((value,) for name, value in tree.items() if str(name) == str(step)), None)
    inside = isinstance(tree, list | tuple) and isinstance(step, int) and step < len(tree)
    return (tree[step],) if inside else None


def _message(details: ErrorDetails, at: Key, schema: type[BaseModel]) -> str:
    kind, written, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(at, schema)
    if kind == "missing":
        name = details["loc"][-1]
        return f"missing key {name!r}" if isinstance(name, str) else "too few values"
    if kind == "wrong":
        return str(context["message"])
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", str(context["expected"]))
        return str(unknown("", at[-1], str(written), choices)).removeprefix(": ")
    if kind in _LIMITS:
        limit = next(iter(context.values()))
        limit = f"{limit:g}" if isinstance(limit, float) else limit
        return f"{_shown(written)} is out of range; it must be {_LIMITS[kind]} {limit}"
    if kind in ("too_short", "string_too_short"):
        return "empty"
    if kind == "too_long":
        return f"{context['actual_length']} values, where {context['max_length']} are expected"
    if (kind == "string_type" and isinstance(written, bool)) or written in ("True", "False"):
        return f"{_shown(written)} is not text; {_BOOLEAN_TRAP}"
    if expected := _NOT_A.get(kind.split("_")[0]):
        return f"{_shown(written)} is not {expected}"
    return f"{_shown(written)}: {details['msg']}"


def _unknown_key(at: Key, schema: type[BaseModel]) -> str:
    """Look for what was meant: beside it, then the same name elsewhere, then anything close."""
    *group, written = at
    known = list(keys_of(schema))
    beside = list(dict.fromkeys(key[-1] for key in known if key[:-1] == tuple(group)))
    elsewhere = {key[-1]: ".".join(key) for key in reversed(known)}
    near = _close(written, beside, 0.75) or elsewhere.get(written) or _close(written, beside, 0.6)
    near = near or elsewhere.get(_close(written, elsewhere, 0.75) or "")
    return f"unknown key {written!r}; " + (f"nearest: {near!r}" if near else f"choices: {', '.join(beside)}")


def _close(written: str, choices: Iterable[str], cutoff: float) -> str | None:
    return next(iter(difflib.get_close_matches(written, list(choices), n=1, cutoff=cutoff)), None)


def _shown(value: Any) -> str:
    """Return a value as YAML would have it, cut short."""
    words = {None: "null", True: "true", False: "false"}
    text = words[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
