from __future__ import annotations

from collections.abc import Iterator

import pytest

from gatesearch.search import Space
from tests.search.small_spaces import small


@pytest.fixture(autouse=True, scope="session")
def _no_waiting_for_the_disk() -> Iterator[None]:
    """Optuna's journal flushes every entry to the disk; no test here pulls the plug."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        yield


@pytest.fixture
def space() -> Space:
    return small()
