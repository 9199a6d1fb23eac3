"""Benchmarks: each writes results/NAME.md for people and results/NAME.json for programs, by one command."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from gatesearch.errors import unknown

NAMES = ("cluster", "dsg", "dsl", "hmd", "hmd_runs", "kernels", "kws", "latency", "search", "vit_gc")
BENCHMARKS = {name: f"gatesearch.bench.{name}" for name in NAMES}
HELP = ("-h", "--help")


def run(name: str, arguments: Sequence[str]) -> None:
    """Run a benchmark, or print what it takes.

    Args:
        name: which.
        arguments: ``key=value`` each; what a key means is the benchmark's to say. With ``--help`` among them nothing
            is run.

    Raises:
        UserError: there is no such benchmark, or an argument is wrong.
    """
    if name not in BENCHMARKS:
        raise unknown("bench", "benchmark", name, BENCHMARKS)
    if any(text in HELP for text in arguments):
        print(usage(name))
        return
    importlib.import_module(BENCHMARKS[name]).main(list(arguments))


def usage(name: str) -> str:
    """Return what a benchmark does and takes: what its sources say of it, which are not run for that.

    >>> print(usage("cluster").splitlines()[0])
    Usage: gatesearch bench cluster [key=value]...
    """
    found = importlib.util.find_spec(BENCHMARKS[name])
    assert found is not None and found.origin is not None
    module = ast.parse(Path(found.origin).read_text(encoding="utf-8"))
    [main] = [node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == "main"]
    about, taken = ast.get_docstring(module) or "", ast.get_docstring(main) or ""
    what, _, keys = taken.partition("\n\nArgs:\n")
    keys = keys.partition("\n\n")[0].replace("``", "").replace("    arguments: ", "", 1)
    lines = ["  " + line.strip() for line in (about + "\n\n" + what).replace("``", "").splitlines()]
    said = "\n".join(line.rstrip() for line in lines)
    listed = "\n".join("  " + line.strip() for line in keys.splitlines())
    return f"Usage: gatesearch bench {name} [key=value]...\n\n{said}\n\nArguments:\n{listed}"
