"""Overrides: the ``key=value`` and ``~key`` with which a user changes a recipe."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gatesearch._lib.yaml_reader import parse_yaml
from gatesearch.errors import UserError, unknown
from gatesearch.recipe.errors import fail

Key = tuple[str, ...]
"""The names on the way to a value, outermost first: ``("training", "epochs")``."""

_KEY = re.compile(r"[\w*-]+(\.[\w*-]+)*")
_EXAMPLE = "training.epochs=40"
_DROP = "~"


def split_argument(text: str) -> tuple[str, str]:
    """Return the key and the value of ``key=value`` as they are written; the value is empty where there is none.

    >>> split_argument("title=a=b"), split_argument("seed="), split_argument("runs/kws-1")
    (('title', 'a=b'), ('seed', ''), ('runs/kws-1', ''))
    """
    key, _, value = text.partition("=")
    return key, value


@dataclass(frozen=True, slots=True)
class Override:
    """One change of a recipe: a value for a key, or the removal of a key.

    Args:
        text: the override as the user wrote it, for errors.
        key: the key whose value changes.
        value: the new value, read as YAML; None for a removal.
        drops: whether the key is removed, so that its default holds again.

    >>> Override.parse("training.epochs=3").value
    3
    >>> Override.parse("~augment.speed").drops
    True
    """

    text: str
    key: Key
    value: Any = None
    drops: bool = False

    @classmethod
    def parse(cls, text: str) -> Override:
        """Read one override.

        Raises:
            UserError: the override has no key or no value, or the value is not YAML.
        """
        where = f"override {text!r}"
        key, written = split_argument(text)
        if key.startswith(_DROP):
            if "=" in text:
                fail(where, f"{_DROP} drops a key and takes no value; write {key}")
            return cls(text=text, key=_parse_key(key.removeprefix(_DROP), where), drops=True)
        if "=" not in text:
            hint = f"; did you mean recipe={text}?" if text.endswith((".yaml", ".yml")) else ""
            fail(where, f"no '=' in it; write key=value, such as {_EXAMPLE}{hint}")
        if not key:
            fail(where, f"no key before '='; write key=value, such as {_EXAMPLE}")
        return cls(text=text, key=_parse_key(key, where), value=_parse_value(written, where))

    def apply(self, tree: dict[str, Any]) -> dict[str, Any]:
        """Return the tree with this change: groups merge, every other value is replaced.

        Raises:
            UserError: the key leads through a value that has no keys, or the key to drop does not exist.
        """
        return self._remove(tree) if self.drops else self._set(tree)

    def _set(self, tree: dict[str, Any]) -> dict[str, Any]:
        changed = copy.deepcopy(tree)
        holder: Any = changed
        for depth, name in enumerate(self.key):
            last = depth == len(self.key) - 1
            step: Any = self._index(name, holder) if isinstance(holder, list) else name
            inner = holder[step] if isinstance(holder, list) else holder.get(step)
            if last:
                holder[step] = _merge(inner, self.value)
            elif isinstance(inner, dict | list):
                holder = inner
            else:  # a plain value on the way becomes a group; the schema decides later whether a group may stand there
                holder[step] = holder = {}
        return changed

    def _index(self, name: str, entries: list[Any]) -> int:
        if not name.isdecimal():
            fail(f"override {self.text}", "cannot be set: entries of a list have numbers, not names")
        if int(name) >= len(entries):
            fail(f"override {self.text}", f"cannot be set: list index out of range; there are {len(entries)} entries")
        return int(name)

    def _remove(self, tree: dict[str, Any]) -> dict[str, Any]:
        """Return a copy of the recipe's tree without the key that the override drops."""
        changed = dict(tree)
        group: dict[str, Any] = changed
        for depth, name in enumerate(self.key):
            if name not in group:
                place = ".".join(self.key[:depth]) or "the recipe"
                written = [str(key) for key in group]
                raise unknown(f"override {self.text}: {place}", "key", name, written)
            if depth == len(self.key) - 1:
                del group[name]
            elif isinstance(group[name], dict):
                group[name] = dict(group[name])
                group = group[name]
            else:
                fail(f"override {self.text}", f"{'.'.join(self.key[: depth + 1])} is not a group of keys")
        return changed


def last_writer(key: Key, overrides: Sequence[Override]) -> Override | None:
    """Return the last override that wrote the value at ``key``, a group around it or a part of it."""

    def touches(written: Key) -> bool:
        shared = min(len(written), len(key))
        return shared > 0 and written[:shared] == key[:shared]

    return next((override for override in reversed(overrides) if touches(override.key)), None)


def _parse_key(key: str, where: str) -> Key:
    if not _KEY.fullmatch(key):
        fail(where, f"{key!r} is no key; write names with dots between, such as {_EXAMPLE}")
    return tuple(key.split("."))


def _merge(value: Any, change: Any) -> Any:
    """Return ``change``; if both values are groups, return ``value`` with the keys of ``change`` set in it."""
    if not (isinstance(value, dict) and isinstance(change, dict)):
        return change
    return value | {name: _merge(value.get(name), inner) for name, inner in change.items()}


def _parse_value(written: str, where: str) -> Any:
    try:
        return parse_yaml(written, "")
    except UserError as error:
        fail(where, f"the value is not YAML{error}")
