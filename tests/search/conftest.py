"""Fixtures of the search tests: a small search space, and a journal without slow disk writes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gatesearch.search import Space
from tests.search.small_spaces import small


@pytest.fixture(autouse=True, scope="session")
def _skip_disk_flushes() -> Iterator[None]:
    """Make ``os.fsync`` do nothing; a journal calls it for every entry, and no test needs safe disk writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        yield


@pytest.fixture
def space() -> Space:
    return small()
