from __future__ import annotations

import pytest

from gatesearch.hardware.kernels import Library, build


@pytest.fixture(scope="session")
def compiled() -> Library:
    """The kernels for this CPU's best instruction set."""
    try:
        return Library(build.library())
    except build.BuildError as error:
        pytest.skip(f"no kernels: {error}")


@pytest.fixture(scope="session", params=sorted({name for sets in build.SETS.values() for name in sets}))
def library(request: pytest.FixtureRequest, compiled: Library) -> Library:
    """The kernels for each instruction set that this CPU has, in turn."""
    if request.param not in compiled.available:
        pytest.skip(f"this CPU has no {request.param}")
    return Library(compiled.path, request.param)
