"""Runs a benchmark of this folder by name, for `gatesearch bench NAME`, or prints its usage.

Each benchmark has a folder with its code, its page (README.md), its rows (rows.json) and its plots. Benchmarks are not
part of the installed package, so the command needs a checkout.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Sequence
from pathlib import Path

from gatesearch.errors import unknown

NAMES = (
    "boards",
    "cluster",
    "counts",
    "dsg",
    "dsl",
    "hmd",
    "hmd_runs",
    "kernels",
    "kws",
    "latency",
    "search",
    "streams",
    "training_step",
    "vit_gc",
)
HELP_FLAGS = ("-h", "--help")


def run(name: str, arguments: Sequence[str]) -> None:
    """Run a benchmark, or print its usage.

    Args:
        name: one of :data:`NAMES`.
        arguments: strings ``key=value`` with keys of the benchmark; ``--help`` among them prints the usage.

    Raises:
        UserError: no benchmark has this name, or an argument is wrong.
    """
    if name not in NAMES:
        raise unknown("bench", "benchmark", name, NAMES)
    if any(text in HELP_FLAGS for text in arguments):
        print(usage(name))
        return
    importlib.import_module(f"results.{name}").main(list(arguments))


def usage(name: str) -> str:
    """Return a benchmark's purpose and keys, taken from the docstrings of its source file without an import.

    >>> print(usage("cluster").splitlines()[0])
    Usage: gatesearch bench cluster [key=value]...
    """
    source = (Path(__file__).parent / name / "__init__.py").read_text(encoding="utf-8")
    module = ast.parse(source)
    main = next(node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == "main")
    purpose = ast.get_docstring(module) or ""
    action, _, sections = (ast.get_docstring(main) or "").partition("\n\nArgs:\n")
    keys = sections.partition("\n\n")[0].replace("    arguments: ", "", 1)
    lines = [
        f"Usage: gatesearch bench {name} [key=value]...",
        "",
        *_indented(f"{purpose}\n\n{action}"),
        "",
        "Arguments:",
        *_indented(keys),
    ]
    return "\n".join(lines).replace("``", "")


def _indented(text: str) -> list[str]:
    return [f"  {line.strip()}".rstrip() for line in text.splitlines()]
