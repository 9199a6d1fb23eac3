"""Reads YAML files of recipes and search spaces, and writes values that read back unchanged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gatesearch._lib.yaml_reader import read_yaml_file
from gatesearch.recipe.errors import fail
from gatesearch.recipe.references import resolve

_LINE_WIDTH = 110


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file, with the references between its keys resolved.

    Raises:
        UserError: the file cannot be read, or it is not UTF-8, not YAML, empty, or not a mapping.
    """
    where = relative_path(path)
    tree = read_yaml_file(path, where)
    if isinstance(tree, list):
        fail(where, "a list at its top level, where keys are expected")
    if tree is None or tree == {}:
        fail(where, "empty")
    if not isinstance(tree, dict):
        fail(where, "not a mapping of keys to values at its top level")
    return resolve(tree, where)


def relative_path(path: Path) -> str:
    """Return a path as a user writes it: relative where it lies under the working folder."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def dump_yaml(values: Mapping[str, Any]) -> str:
    """Return YAML that :func:`read_yaml` reads back as the same values; lists and small groups take one line each."""
    return yaml.dump(
        dict(values),
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=None,
        allow_unicode=True,
        width=_LINE_WIDTH,
    )


class _Dumper(yaml.SafeDumper):
    """Quotes all text except plain words; PyYAML would not quote 1e-3, which gatesearch reads as a number."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if re.fullmatch(r"[A-Za-z_][\w ./-]*", text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
