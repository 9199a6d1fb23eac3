from __future__ import annotations

import os

import numpy as np
import pytest

from gatesearch.kernels import (
    Library,
    arrays,
    build,
    channel_skipping,
    conv,
    fbs,
    mel,
    pg,
    recurrent,
    recurrent_u8,
    stage,
)

SANITISE = "GATESEARCH_SANITISE"  # set where test_kernels_sanitised.py runs these tests once more


@pytest.fixture(scope="session")
def compiled() -> Library:
    """The kernels for this CPU's best instruction set."""
    sanitise = SANITISE in os.environ
    if sanitise:
        # Arrays without room around them, so that a step beyond is seen; they are not aligned either.
        for module in (arrays, channel_skipping, conv, fbs, mel, pg, recurrent, recurrent_u8, stage):
            module.aligned = np.zeros  # type: ignore[attr-defined]
    try:
        return Library(build.library(sanitise=sanitise))
    except build.BuildError as error:
        pytest.skip(f"no kernels: {error}")


@pytest.fixture(scope="session", params=sorted({name for sets in build.SETS.values() for name in sets}))
def library(request: pytest.FixtureRequest, compiled: Library) -> Library:
    """The kernels for each instruction set that this CPU has, in turn."""
    if request.param not in compiled.available:
        pytest.skip(f"this CPU has no {request.param}")
    return Library(compiled.path, request.param)
