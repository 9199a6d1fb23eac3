"""References between keys: ``${training.learning_rate}`` stands for the value of another key.

``${...}`` has no other meaning. The resolvers of other YAML tools do not exist. One of them, ``${oc.env:HOME}``, would
copy a variable of the environment into a recipe that is stored and shown. The size of the result is bounded, because a
few lines of references to references can stand for more values than fit into memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pydantic import BaseModel

from gatesearch._lib.yaml_reader import MAX_DEPTH, MAX_NODES
from gatesearch.errors import quote
from gatesearch.recipe.errors import fail, write_key
from gatesearch.recipe.overrides import Key, Override, last_writer

MAX_TEXT_CHARACTERS = 10_000
"""Largest length of a text that contains a reference, after the reference is replaced."""

MAX_VISITS = 10 * MAX_NODES
"""Largest number of values to visit. In a tree that a program builds, a group may contain itself and have no end."""

_REFERENCE = re.compile(r"\$\{([^{}$]*)\}")
_NAME = re.compile(r"(\.*)([\w*-]+(?:\.[\w*-]+|\[\d+\])*)")
_MISSING = "???"


def resolve(tree: Any, where: str, overrides: Sequence[Override] = ()) -> dict[str, Any]:
    """Return plain containers with every ``${group.key}`` replaced by the value that it names.

    A name with a leading dot starts from the group in which the reference stands. A name with two dots starts from the
    group around that group. Models in the tree become mappings, and paths become text.

    Args:
        tree: a mapping.
        where: the file, for errors.
        overrides: the overrides that were applied; an error in a value that an override wrote names the override.

    Raises:
        UserError: a reference is malformed, names no key, leads back to itself, or stands for too many values; or a
            value is missing (``???``).

    >>> resolve({"seed": 3, "data": {"seed": "${seed}", "name": "set-${.seed}"}}, "my.yaml")
    {'seed': 3, 'data': {'seed': 3, 'name': 'set-3'}}
    """
    resolved: dict[str, Any] = _Resolution(tree, where, overrides).expand(tree, ())[0]
    return resolved


class _Resolution:
    """Resolves one tree; it resolves each referenced value once, even where several references name it."""

    def __init__(self, tree: Any, where: str, overrides: Sequence[Override]) -> None:
        self.tree, self.where, self.overrides = tree, where, overrides
        self.values: dict[Key, tuple[Any, int]] = {}  # value and size of each referenced key
        self.visits = 0
        self.pending: list[Key] = []  # referenced keys whose values are being resolved

    def expand(self, node: Any, key: Key) -> tuple[Any, int]:
        """Return a node without references, and the number of values in it."""
        self.visits += 1
        if len(key) > MAX_DEPTH or self.visits > MAX_VISITS:
            self.fail(key[:3], f"nested too deeply, in more than {MAX_DEPTH} levels, or too large")
        if isinstance(node, BaseModel):
            node = node.model_dump(exclude_unset=True)
        if isinstance(node, Mapping):
            names = list(node)
            parts = [self.expand(node[name], (*key, write_key(name))) for name in names]
            value: Any = dict(zip(names, (part for part, _ in parts), strict=True))
        elif isinstance(node, list | tuple):
            parts = [self.expand(part, (*key, str(index))) for index, part in enumerate(node)]
            value = [part for part, _ in parts]
        elif isinstance(node, str | Path):
            return self.expand_text(str(node), key)
        else:
            return node, 1
        size = 1 + sum(count for _, count in parts)
        if size > MAX_NODES:
            self.fail(key, f"its references stand for more than {MAX_NODES:,} values")
        return value, size

    def expand_text(self, text: str, key: Key) -> tuple[Any, int]:
        """Return a text with its references replaced by the values of their keys, and the number of values."""
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            self.fail(key, f"{text!r} is not UTF-8 text")
        if text == _MISSING:
            self.fail(key, f"{_MISSING} stands for a value that is missing; write it")
        if "${" not in text:
            return text, 1
        if "\\${" in text or "${" in _REFERENCE.sub("", text):
            self.fail(key, f"{text!r} is no reference; write ${{group.key}}")
        if whole := _REFERENCE.fullmatch(text):
            return self.look_up(whole[1], key)

        def replace(match: re.Match[str]) -> str:
            value, _ = self.look_up(match[1], key)
            if isinstance(value, dict | list):
                self.fail(key, f"{match[0]} is a group, which cannot be a part of a text")
            if isinstance(value, int) and value.bit_length() > MAX_TEXT_CHARACTERS:
                self.fail(key, f"{match[0]} is {quote(value)}, which cannot be a part of a text")
            return str(value)

        result = _REFERENCE.sub(replace, text)
        if len(result) > MAX_TEXT_CHARACTERS:
            self.fail(key, f"its references stand for a text of more than {MAX_TEXT_CHARACTERS:,} characters")
        return result, 1

    def look_up(self, name: str, key: Key) -> tuple[Any, int]:
        """Return the value that a reference at ``key`` names, and the number of values in it."""
        target = self.parse(name, key)
        if target in self.pending or target == key[: len(target)]:
            self.fail(key, f"${{{name}}} leads back to itself")
        if target not in self.values:
            if len(self.pending) >= MAX_DEPTH:
                self.fail(key, f"more than {MAX_DEPTH} references lead to one another")
            self.pending.append(target)
            self.values[target] = self.expand(self.find(target, name, key), target)
            self.pending.pop()
        return self.values[target]

    def parse(self, name: str, key: Key) -> Key:
        match = _NAME.fullmatch(name)
        if not match:
            hint = "; resolvers, which could read data outside the recipe, are not run" if ":" in name else ""
            self.fail(key, f"${{{name}}} is no reference; write ${{group.key}}{hint}")
        dots = len(match[1])
        group = key[:-dots] if dots else ()
        return (*group, *match[2].replace("[", ".").replace("]", "").split("."))

    def find(self, target: Key, name: str, key: Key) -> Any:
        node = self.tree
        for depth, step in enumerate(target):
            if isinstance(node, str) and "${" in node:
                node, _ = self.expand_text(node, target[:depth])
            if isinstance(node, Mapping) and step in node:
                node = node[step]
            elif isinstance(node, list | tuple) and step.isdigit() and int(step) < len(node):
                node = node[int(step)]
            else:
                self.fail(key, f"Interpolation key {name!r} names no value of the file")
        return node

    def fail(self, key: Key, message: str) -> NoReturn:
        if override := last_writer(key, self.overrides):
            fail(f"override {override.text}", message)
        fail(f"{self.where}: {'.'.join(key)}" if key else self.where, message)
