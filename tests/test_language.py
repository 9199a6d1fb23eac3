"""Tests that the package keeps its rules for names and expressions; CONTRIBUTING.md gives the reasons."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import gatesearch

PACKAGE = Path(gatesearch.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
PARTICIPLES = {"found", "kept", "given", "made", "told", "wanted", "shown", "asked", "known", "begun", "said", "taken"}
# Fields of files that users already have on disk.
STORED_NAMES = {("cost/sources/board/table.py", "taken")}
PREPOSITIONS = {"of", "at", "by", "through", "over"}
PUBLIC_PREPOSITIONS = {("plan.py", "of")}  # users' programs call PlacedGate.of("gc", "stem", keep=0.5)
MAX_FORS = 2


def _place(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


def _names(tree: ast.Module) -> Iterator[str]:
    """Yield every name that a module gives to a variable, an argument, a function or a class."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name


@pytest.mark.parametrize("module", MODULES, ids=_place)
def test_names_are_nouns_and_verbs(module: Path) -> None:
    tree, place = ast.parse(module.read_text()), _place(module)
    participles = {name for name in _names(tree) if name in PARTICIPLES and (place, name) not in STORED_NAMES}
    assert not participles, f"a participle is no name for a value: {sorted(participles)}"
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    prepositions = {name for name in functions & PREPOSITIONS if (place, name) not in PUBLIC_PREPOSITIONS}
    assert not prepositions, f"a preposition is no name for a function: {sorted(prepositions)}"


@pytest.mark.parametrize("module", MODULES, ids=_place)
def test_expressions_are_read_once(module: Path) -> None:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            assert len(node.generators) <= MAX_FORS, f"line {node.lineno}: a comprehension of more than two fors"
            for generator in node.generators:
                single = isinstance(generator.iter, ast.List | ast.Tuple) and len(generator.iter.elts) == 1
                assert not single, f"line {node.lineno}: a for that only names a value"
        if isinstance(node, ast.Call):
            literal = [arg for arg in node.args if isinstance(arg, ast.Starred) and isinstance(arg.value, ast.Tuple)]
            assert not literal, f"line {node.lineno}: a literal splat that only packs a line"


@pytest.mark.parametrize("module", MODULES, ids=_place)
def test_a_module_says_what_it_is_for(module: Path) -> None:
    first = (ast.get_docstring(ast.parse(module.read_text())) or "").partition("\n\n")[0]
    assert first.rstrip().endswith((".", ":", "``")), "the docstring's first paragraph is a sentence"
