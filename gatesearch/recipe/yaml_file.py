"""YAML files: read with interpolations resolved, and written so that they read back as the same values."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gatesearch.recipe.errors import fail, first_line
from gatesearch.recipe.overrides import Override, last_writer

_LINE_WIDTH = 110


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file, interpolations resolved.

    Raises:
        UserError: the file cannot be read, is not UTF-8, not YAML, empty, or no mapping.
    """
    where = relative_path(path)
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
        fail(where, first_line(error))
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
    return resolve(loaded, where)


def resolve(tree: Any, where: str, overrides: Sequence[Override] = ()) -> dict[str, Any]:
    """Return plain containers with every ``${...}`` replaced by the value that it names.

    Args:
        tree: a mapping.
        where: the file, for errors.
        overrides: what was applied; an error in a value that one of them wrote names the override.

    Raises:
        UserError: an interpolation names no key, or a value is missing (``???``).
    """
    try:
        plain = OmegaConf.to_container(OmegaConf.create(tree), resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = str(getattr(error, "full_key", None) or "")
        if override := last_writer(tuple(key.split(".")), overrides):
            fail(f"override {override.text}", first_line(error))
        fail(f"{where}: {key}" if key else where, first_line(error))
    except RecursionError:
        fail(where, "nested too deeply")
    assert isinstance(plain, dict)
    return plain  # type: ignore[return-value]


def relative_path(path: Path) -> str:
    """Return a path as a user writes it: relative where it lies under the working folder."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def dump_yaml(values: Mapping[str, Any]) -> str:
    """Return YAML that :func:`read_yaml` reads back as the same values; lists and small groups take a line."""
    return yaml.dump(
        dict(values),
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=None,
        allow_unicode=True,
        width=_LINE_WIDTH,
    )


class _Dumper(yaml.SafeDumper):
    """Quotes all but plain words: OmegaConf reads unquoted text as numbers that PyYAML does not (1e-3)."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if re.fullmatch(r"[A-Za-z_][\w ./-]*", text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
