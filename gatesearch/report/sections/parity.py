"""The section on exported artifacts: which of their decisions differ from the model's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gatesearch.report.fields import Record, read
from gatesearch.report.text import format_value


def list_confusions(record: Record) -> list[tuple[str, str]]:
    """Return label and count of each kind of difference, however deep the record nests them."""
    return list(_flatten(read(record, "parity", "confusions", default={})))


def _flatten(tree: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(tree, Mapping):
        for key, branch in tree.items():
            yield from _flatten(branch, f"{path}, {key}" if path else str(key))
    elif isinstance(tree, list):
        yield path, json.dumps(tree)
    else:
        yield path, format_value(tree)
