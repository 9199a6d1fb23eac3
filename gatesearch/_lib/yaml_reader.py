"""Reads YAML files from untrusted sources: only plain values, of limited size, without duplicate keys.

PyYAML's safe loader builds no Python objects. But it accepts duplicate keys, reads ``1e-3`` as text, ``010`` as eight
and ``1:30`` as ninety, and follows aliases however large the result is ("billion laughs"). This loader refuses or
corrects each of these. The package reads all its YAML files with this module.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from gatesearch.errors import UserError

MAX_BYTES = 1_000_000
MAX_NODES = 20_000
MAX_DEPTH = 40

_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = frozenset(_TAG + name for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge", "value"))
_MERGE = f"{_TAG}merge"
# The numbers of YAML 1.2, with underscores. YAML 1.1 would read 1:30 in base 60 and 010 as octal, and would need a dot
# in 1e-3.
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?0b[01_]+")
_REAL = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_NUMBER_STARTS = "-+0123456789."


class YamlError(UserError):
    """A text that is not plain YAML.

    Args:
        where: name of the text in the message.
        problem: description of the error.
        line: line of the error, counted from 1; 0 if it is unknown.
        column: column of the error, counted from 1; 0 if it is unknown.
    """

    def __init__(self, where: str, problem: str, line: int = 0, column: int = 0) -> None:
        self.line, self.problem = line, " ".join(problem.split())
        place = f"line {line}, column {column}: " if line else ""
        super().__init__(f"{where}: {place}{self.problem}")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader with the numbers of YAML 1.2 and without dates."""


_REPLACED = {f"{_TAG}int", f"{_TAG}float", f"{_TAG}timestamp"}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _name, _pattern in (("int", _INTEGER), ("float", _REAL)):
    _Loader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(f"(?:{_pattern.pattern})$"), list(_NUMBER_STARTS))


def read_yaml_file(path: Path, where: str) -> Any:
    """Return the plain values in a YAML file; None if it is empty.

    Args:
        path: path of a file in UTF-8, with or without a byte order mark.
        where: name of the file in errors.

    Raises:
        UserError: the file cannot be read, is not UTF-8, is too large, is not plain YAML, or has a duplicate key.
    """
    return parse_yaml(read_yaml_text(path, where), where)


def read_yaml_text(path: Path, where: str) -> str:
    """Return the text of a YAML file.

    Args:
        path: path of a file in UTF-8, with or without a byte order mark.
        where: name of the file in errors.

    Raises:
        UserError: the file cannot be read, is not UTF-8, or is too large.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content[:MAX_BYTES].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < MAX_BYTES - 4:  # at the end, the size limit may have cut a character in two
            raise UserError(f"{where}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise UserError(f"{where}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise UserError(f"{where}: more than {MAX_BYTES:,} bytes, too large for such a file")
    return text


def find_lines(text: str, name_item: Callable[[Any, int], str]) -> dict[tuple[str, ...], int]:
    """Return the line of each value of a YAML text that :func:`parse_yaml` accepts, by the path of the value.

    Args:
        text: the text.
        name_item: a function that returns the segment of a path for an item of a list, from the item and its index.

    >>> find_lines("cores:\\n- name: mcu\\n  idle: 1", lambda item, index: item["name"])
    {('cores',): 1, ('cores', 'mcu'): 2, ('cores', 'mcu', 'name'): 2, ('cores', 'mcu', 'idle'): 3}
    """
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        values = None if root is None else loader.construct_document(root)
    finally:
        loader.dispose()
    lines: dict[tuple[str, ...], int] = {}
    waiting: list[tuple[tuple[str, ...], Any, Any]] = [((), root, values)]
    while waiting:
        path, node, value = waiting.pop(0)
        inner: list[tuple[str, int, Any, Any]] = []
        if isinstance(node, MappingNode) and isinstance(value, Mapping):
            rows = [(key.value, key.start_mark.line + 1, item) for key, item in node.value if key.tag != _MERGE]
            inner = [(key, line, item, value.get(key)) for key, line, item in rows]
        elif isinstance(node, SequenceNode) and isinstance(value, list):
            items = zip(node.value, value, strict=True)
            inner = [(name_item(each, k), item.start_mark.line + 1, item, each) for k, (item, each) in enumerate(items)]
        for segment, line, item, each in inner:
            lines.setdefault((*path, segment), line)
            waiting.append(((*path, segment), item, each))
    return lines


def parse_yaml(text: str, where: str) -> Any:
    """Return the plain values in a YAML text; None if it is empty.

    Raises:
        UserError: the text is too large, is not plain YAML, or has a duplicate key; the message names line and column.

    >>> parse_yaml("{rate: 1e-3, on: [010, 1:30]}", "my.yaml")
    {'rate': 0.001, True: ['010', '1:30']}
    """
    try:
        _check_size(text, where)
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            if root is None:
                return None
            _check_nodes(root, where)
            return loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        hint = "; indent by spaces, not by tabs" if mark and _has_tab(text, mark.line) else ""
        _fail(where, mark, f"{error.problem or error.context}{hint}")
    except yaml.YAMLError as error:
        raise YamlError(where, str(error)) from None
    except (ValueError, LookupError) as error:
        # Both errors come from building a value. PyYAML does not check values with explicit tags (!!int '', !!bool x),
        # and Python refuses numbers with thousands of digits.
        raise YamlError(where, f"a value is not what its tag or its length says: {error}") from None


def _check_size(text: str, where: str) -> None:
    """Refuse a text with too many or too deeply nested nodes before any value is built.

    An alias counts as many nodes as it stands for.
    """
    if len(text) > MAX_BYTES:
        raise UserError(f"{where}: more than {MAX_BYTES:,} characters, too large")
    sizes: dict[str, int] = {}  # number of nodes below each anchor
    # Anchor, number of nodes so far and start of each open node, the outermost first.
    open_nodes: list[tuple[str | None, int, Any]] = [(None, 0, None)]
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, 1, event.start_mark))
            if len(open_nodes) > MAX_DEPTH:
                _fail(where, event.start_mark, f"nested too deeply: more than {MAX_DEPTH} levels")
            continue
        if isinstance(event, yaml.AliasEvent):
            for anchor, _, start in open_nodes:
                if anchor == event.anchor:
                    _fail(where, start, "YAML recursive aliases are not supported.")
            anchor, size = None, sizes.get(event.anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            anchor, size = event.anchor, 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size, _ = open_nodes.pop()
        else:
            continue
        if anchor is not None:
            sizes[anchor] = size
        parent, total, start = open_nodes[-1]
        open_nodes[-1] = (parent, total + size, start)
        if total + size > MAX_NODES:
            _fail(where, event.start_mark, f"more than {MAX_NODES:,} values, aliases counted, too large")


def _check_nodes(root: Node, where: str) -> None:
    """Refuse tags of other types, and duplicate keys."""
    checked: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in checked:
            continue
        checked.add(id(node))
        if node.tag not in _PLAIN_TAGS:
            _fail(where, node.start_mark, f"tag {node.tag.replace(_TAG, '!!')!r} is not allowed")
        if isinstance(node, SequenceNode):
            waiting += node.value
        elif isinstance(node, MappingNode):
            _check_keys(node, where)
            waiting += [part for pair in node.value for part in pair]


def _check_keys(node: MappingNode, where: str) -> None:
    keys: set[tuple[str, str]] = set()
    for key, _ in node.value:
        if not isinstance(key, ScalarNode):
            _fail(where, key.start_mark, "a key is a list or a group")
        if key.tag == _MERGE:
            continue
        written = (key.tag, key.value)
        if written in keys:
            _fail(where, key.start_mark, f"found duplicate key {key.value}")
        keys.add(written)


def _has_tab(text: str, line: int) -> bool:
    lines = text.splitlines()
    return line < len(lines) and lines[line][: len(lines[line]) - len(lines[line].lstrip())].count("\t") > 0


def _fail(where: str, mark: Any, message: str) -> NoReturn:
    if mark is None:
        raise YamlError(where, message) from None
    raise YamlError(where, message, mark.line + 1, mark.column + 1) from None
