"""Tests of the reader of untrusted YAML: limits, plain values, YAML 1.2 numbers, errors of one line."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch._lib.yaml_reader import MAX_BYTES, MAX_DEPTH, parse_yaml, read_yaml_file
from gatesearch.errors import UserError
from gatesearch.recipe.yaml_file import dump_yaml

SECONDS = 5.0  # enough on a busy machine too; a text made to expand without bound would take minutes


def refusal(text: str | bytes, folder: Path) -> str:
    path = folder / "my.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    started = time.monotonic()
    with pytest.raises(UserError) as caught:
        read_yaml_file(path, "my.yaml")
    assert time.monotonic() - started < SECONDS
    line = str(caught.value)
    assert line.startswith("my.yaml: ") and len(line.splitlines()) == 1
    return line.removeprefix("my.yaml: ")


# The text of the "billion laughs" attack: at each level, a list names the list of the level before many times.
def laughs(levels: int, width: int) -> str:
    lines = ["a0: &a0 [lol]"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * width)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(("levels", "width"), [(9, 9), (40, 2), (4, 60), (3, 1000)])
def test_aliases_count_as_copies_of_their_values(levels: int, width: int, tmp_path: Path) -> None:
    assert "values, aliases counted, too large" in refusal(laughs(levels, width), tmp_path)


def test_merged_groups_count_as_well(tmp_path: Path) -> None:
    lines = ["m0: &m0 {" + ", ".join(f"k{i}: 1" for i in range(100)) + "}"]
    lines += [f"m{n}: &m{n} {{<<: [{', '.join(['*m' + str(n - 1)] * 20)}]}}" for n in range(1, 6)]
    assert "too large" in refusal("\n".join(lines), tmp_path)


@pytest.mark.parametrize("text", ["[" * 60 + "]" * 60, "[" * 100_000, "{a: " * 300, "- " * 500 + "x"])
def test_depth_is_bounded(text: str, tmp_path: Path) -> None:
    line = refusal(text, tmp_path)
    assert f"nested too deeply: more than {MAX_DEPTH} levels" in line or "nesting depth" in line


def test_size_is_bounded(tmp_path: Path) -> None:
    assert "too large" in refusal("a: " + "x" * MAX_BYTES, tmp_path)
    assert "too large" in refusal("a: " + "é" * MAX_BYTES, tmp_path)  # the limit is inside a character
    assert "too large" in refusal("- 1\n" * 30_000, tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3", "line 3, column 1: found duplicate key a"),
        ("a: {b: 1, 'b': 2}", "line 1, column 11: found duplicate key b"),
        ("- x\n- {no: 1, no: 2}", "found duplicate key no"),
        ("a:\n\tb: 1", "indent by spaces, not by tabs"),
        (b"a: caf\xe9", "not UTF-8 text (byte 6)"),
        (b"\xff\xfea\0:\0 \0" + b"1\0", "not UTF-8 text (byte 0)"),
        ("a: !!python/object/apply:os.system [true]", "is not allowed"),
        ("a: !!binary aGk=", "tag '!!binary' is not allowed"),
        ("a: !mine x", "is not allowed"),
        ("a: !!timestamp x", "is not allowed"),
        ("[1, 2]: x", "a key is a list or a group"),
        ("? {a: 1}\n: x", "a key is a list or a group"),
        ("a: *b", "undefined alias"),
        ("a: 1\n---\nb: 2", "another document"),
        ("a: " + "9" * 5000, "limit"),
        ("a: !!int ''", "a value is not what its tag"),
        ("a: !!int '-'", "a value is not what its tag"),
        ("a: !!float x", "a value is not what its tag"),
        ("a: !!bool maybe", "a value is not what its tag"),
        ("a: &a {b: {c: [*a]}}", "line 1, column 4: YAML recursive aliases are not supported."),
    ],
)
def test_yaml_that_is_not_plain_is_refused(text: str | bytes, words: str, tmp_path: Path) -> None:
    assert words in refusal(text, tmp_path)


def test_byte_order_marks_and_line_ends_of_other_systems_are_read(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb:\r\n  c: [x,\r\n      y]\r\n")
    assert read_yaml_file(path, "my.yaml") == {"a": 1, "b": {"c": ["x", "y"]}}
    path.write_bytes(b"")
    assert read_yaml_file(path, "my.yaml") is None


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-3", 0.001),
        ("1e3", 1000.0),
        ("010", "010"),
        ("1:30", "1:30"),
        ("0x1F", 31),
        ("1_000", 1000),
        ("2026-11-30", "2026-11-30"),
        (".5", 0.5),
        ("1.", 1.0),
        ("-1.5e+2", -150.0),
        ("1.2.3", "1.2.3"),
        ("+7", 7),
        ("~", None),
        ("yes", True),
        ("'yes'", "yes"),
        ("1e", "1e"),
        ("1e-3x", "1e-3x"),
        ("'-'", "-"),
        ("--", "--"),
    ],
)
def test_numbers_are_those_of_yaml_1_2(written: str, value: object) -> None:
    read = parse_yaml(f"a: {written}", "my.yaml")["a"]
    assert read == value and type(read) is type(value)


plain = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | st.text(max_size=8)
trees = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)


@settings(max_examples=60, deadline=None)
@given(trees)
def test_any_plain_values_read_back(tree: object) -> None:
    assert parse_yaml(dump_yaml({"a": tree}), "my.yaml") == {"a": tree}


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab:-[]{}\"'&*!#?,|>%@`~ \t\n\r01.<=", max_size=40) | st.text(max_size=30))
def test_any_text_gives_values_or_an_error_of_one_line(text: str) -> None:
    try:
        parse_yaml(text, "my.yaml")
    except UserError as error:
        assert str(error).startswith("my.yaml: ") and len(str(error).splitlines()) == 1
