"""Loads the compiled kernels of all installed packages for the best instruction set of the CPU."""

from __future__ import annotations

import functools
from pathlib import Path

from gatesearch._lib import console
from gatesearch.kernels import build
from gatesearch.kernels.library import Library
from gatesearch.kernels.registry import signatures


def open_library(path: Path, instructions: str | None = None) -> Library:
    """Return the kernels of a shared library for an instruction set; None means the best one of this CPU.

    Raises:
        ValueError: the set was not compiled, or the CPU does not have it.
    """
    return Library(path, signatures(), instructions)


@functools.cache
def load(instructions: str | None = None) -> Library | None:
    """Return the kernels; where they cannot be compiled, print one notice on standard error and return None.

    Raises:
        ValueError: the CPU does not have the instruction set.
    """
    try:
        return open_library(build.library(), instructions)
    except build.BuildError as error:
        console.console(stderr=True).print(_notice(error), soft_wrap=True)
        return None


def status() -> str:
    """Return a line that names the instruction set and the compiler of the kernels, or why they are not compiled."""
    try:
        compiler = build.Compiler.find()
        return f"kernels: {open_library(build.library(compiler)).instructions}, compiled by {compiler.version}"
    except build.BuildError as error:
        return _notice(error)


def _notice(error: build.BuildError) -> str:
    return f"kernels: {error}; the torch reference runs in their place, slower"
