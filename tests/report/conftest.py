"""Fixtures with records of runs for the report's tests: a whole run, layer gates alone, an empty run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.report.record_fixture import build_layer_gates_record, build_record, empty_record


@pytest.fixture
def record() -> dict[str, Any]:
    return build_record()


@pytest.fixture
def layer_gates_record() -> dict[str, Any]:
    return build_layer_gates_record()


@pytest.fixture
def empty() -> dict[str, Any]:
    return empty_record()
