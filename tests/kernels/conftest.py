"""The compiled kernels, once for each instruction set of this CPU."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from gatesearch.kernels import Library, build, kernels, native

SANITISE = "GATESEARCH_SANITISE"  # set where test_sanitised.py runs these tests once more


@pytest.fixture(scope="session")
def compiled() -> Library:
    """The kernels for this CPU's best instruction set."""
    sanitise = SANITISE in os.environ
    if sanitise:
        # Arrays without room around them, so that a step beyond is seen; they are not aligned either.
        kernels()  # brings in the modules of all of them
        for name, module in list(sys.modules.items()):
            if name.startswith(("gatesearch.kernels.", "gatesearch.runtime.")) and hasattr(module, "aligned"):
                module.aligned = np.zeros
    try:
        return native.open_library(build.library(sanitise=sanitise))
    except build.BuildError as error:
        pytest.skip(f"no kernels: {error}")


@pytest.fixture(scope="session", params=sorted({name for sets in build.SETS.values() for name in sets}))
def library(request: pytest.FixtureRequest, compiled: Library) -> Library:
    """The kernels for each instruction set that this CPU has, in turn."""
    if request.param not in compiled.available:
        pytest.skip(f"this CPU has no {request.param}")
    return native.open_library(compiled.path, request.param)
