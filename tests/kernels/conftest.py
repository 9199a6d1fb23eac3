"""Fixtures that open the compiled C kernels for this CPU's best instruction set, or for each set."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from gatesearch.kernels import Library, build, kernels, native

SANITISE = "GATESEARCH_SANITISE"  # set by test_sanitised.py when it runs the tests of this folder again


@pytest.fixture(scope="session")
def compiled() -> Library:
    """Return the kernels for this CPU's best instruction set."""
    sanitise = SANITISE in os.environ
    if sanitise:
        # A sanitizer detects an access beyond an array only if the array has no padding. So np.zeros replaces the
        # function `aligned_zeros`, which pads arrays to a cache line, in each module that has it.
        kernels()  # imports the modules of all kernels
        padded = [
            module
            for name, module in list(sys.modules.items())
            if name.startswith(("gatesearch.kernels.", "gatesearch.runtime.")) and hasattr(module, "aligned_zeros")
        ]
        assert padded, "no module of kernels pads its arrays by `aligned_zeros`"
        for module in padded:
            module.aligned_zeros = np.zeros
    try:
        return native.open_library(build.library(sanitise=sanitise))
    except build.BuildError as error:
        pytest.skip(f"no kernels: {error}")


@pytest.fixture(scope="session", params=sorted({name for sets in build.SETS.values() for name in sets}))
def library(request: pytest.FixtureRequest, compiled: Library) -> Library:
    """Return the kernels for one instruction set; a test runs once for each set that this CPU has."""
    if request.param not in compiled.available:
        pytest.skip(f"this CPU has no {request.param}")
    return native.open_library(compiled.path, request.param)
