from __future__ import annotations

from typing import Any

import pytest
from record_fixture import build_record, empty_record


@pytest.fixture
def record() -> dict[str, Any]:
    return build_record()


@pytest.fixture
def empty() -> dict[str, Any]:
    return empty_record()
