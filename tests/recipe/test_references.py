"""Tests of references between keys of a recipe: they name keys of the same file, and their size is bounded."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.errors import UserError
from gatesearch.recipe.overrides import Override
from gatesearch.recipe.references import resolve

SECONDS = 5.0


def refusal(tree: dict[str, Any], overrides: tuple[str, ...] = ()) -> str:
    started = time.monotonic()
    with pytest.raises(UserError) as caught:
        resolve(tree, "my.yaml", [Override.parse(text) for text in overrides])
    assert time.monotonic() - started < SECONDS
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_references_are_replaced_by_their_values() -> None:
    tree = {"a": {"b": 1, "c": "${a.b}", "d": "${.b}", "e": ["${..a.b}"]}, "f": "x-${a.b}-${a.e.0}", "g": "${a}"}
    a = {"b": 1, "c": 1, "d": 1, "e": [1]}
    with pytest.raises(UserError):  # a list is a group as well, so ..a.b starts from a, which has no key a
        resolve(tree, "my.yaml")
    tree["a"]["e"] = ["${...a.b}"]
    assert resolve(tree, "my.yaml") == {"a": a, "f": "x-1-1", "g": a}
    assert resolve({"a": "${b.c}", "b": "${d}", "d": {"c": [7]}, "e": "${a[0]}"}, "")["e"] == 7


@pytest.mark.parametrize(
    "written",
    [
        "${oc.env:HOME}",
        "${oc.env:HOME,none}",
        "x${oc.decode:1}",
        "${oc.create:{a: 1}}",
        "${a:b}",
        "${${name}}",
        "${name",
        "${}",
        "${ name }",
        "\\${name}",
        "${.}",
        "${name}${",
    ],
)
def test_malformed_references_are_refused(written: str) -> None:
    line = refusal({"group": {"key": written}, "name": "group"})
    assert line.startswith("my.yaml: group.key: ") and ("no reference" in line or "names no value" in line)


def test_the_environment_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "wonderland")
    for written in ("${oc.env:SECRET}", "${env:SECRET}", "${SECRET}", "a ${oc.env:SECRET} b"):
        assert "wonderland" not in refusal({"title": written})
    assert "resolvers, which could read data outside the recipe, are not run" in refusal({"title": "${oc.env:SECRET}"})


def test_the_error_names_the_override() -> None:
    line = refusal({"seed": "${oc.env:HOME}"}, ("seed=${oc.env:HOME}",))
    assert line.startswith("override seed=${oc.env:HOME}: ")


@pytest.mark.parametrize("width", [2, 9, 30])
@pytest.mark.parametrize("kind", ["text", "list", "group"])
def test_references_that_multiply_without_end_are_refused_at_once(kind: str, width: int) -> None:
    def level(number: int) -> Any:
        reference = f"${{k{number}}}"
        if kind == "text":
            return reference * width
        return [reference] * width if kind == "list" else {f"x{i}": reference for i in range(width)}

    bomb = {f"k{number}": level(number + 1) for number in range(30)} | {"k30": "lol"}
    line = refusal(bomb)
    assert "stand for" in line or "lead to one another" in line


@pytest.mark.parametrize(
    "tree",
    [
        {"a": "${a}"},
        {"a": "${b}", "b": "${a}"},
        {"a": {"b": "${a}"}},
        {"a": {"b": "x${a.b}"}},
        {"a": "${b.c}", "b": {"c": "${d}"}, "d": ["${a}"]},
        {"a": ["${a.0}"]},
        {"a": "${b.x}", "b": "${a}"},
    ],
)
def test_references_in_a_circle_are_refused(tree: dict[str, Any]) -> None:
    assert "leads back to itself" in refusal(tree)


def test_a_long_chain_is_refused() -> None:
    assert "lead to one another" in refusal({f"k{n}": f"${{k{n + 1}}}" for n in range(3000)} | {"k3000": 1})


def test_a_missing_value_is_named() -> None:
    assert refusal({"a": {"b": "???"}}) == "my.yaml: a.b: ??? stands for a value that is missing; write it"


names = st.sampled_from(["a", "b", "c", "a.b", "b.0", ".c", "..a", "c.a", "d"])
texts = st.lists(st.sampled_from(["x", "${", "}", "."]) | names.map(lambda name: f"${{{name}}}"), max_size=4).map(
    "".join
)
nodes = st.recursive(
    texts | st.integers(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner)
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from("abcd"), nodes))
def test_any_references_give_values_or_an_error_of_one_line(tree: dict[str, Any]) -> None:
    try:
        resolved = resolve(tree, "my.yaml")
    except UserError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert "${" not in str(resolved)
        assert resolve(resolved, "my.yaml") == resolved
