from __future__ import annotations

from typing import Any

import pytest

from tests.report.record_fixture import build_record, empty_record, layers_only


@pytest.fixture
def record() -> dict[str, Any]:
    return build_record()


@pytest.fixture
def in_layers() -> dict[str, Any]:
    return layers_only()


@pytest.fixture
def empty() -> dict[str, Any]:
    return empty_record()
