"""Tests that PyTorch uses at most as many threads as there are cores, unless the user set a number."""

from __future__ import annotations

import pytest
import torch

from gatesearch._lib.console import collect_warnings
from gatesearch.training import threads


@pytest.mark.parametrize(
    ("own", "cores", "set_by_user", "expected"), [(8, 2, False, 2), (1, 2, False, 1), (8, 2, True, 8)]
)
def test_threads_follow_the_cores_unless_the_user_set_them(monkeypatch, own, cores, set_by_user, expected):
    numbers = [own]
    monkeypatch.setattr(torch, "get_num_threads", lambda: numbers[-1])
    monkeypatch.setattr(torch, "set_num_threads", numbers.append)
    monkeypatch.setattr(threads, "available_cores", lambda: cores)
    monkeypatch.setattr(threads, "describe_load", lambda count: f"busy with {count}")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if set_by_user:
        monkeypatch.setenv("OMP_NUM_THREADS", str(own))
    with collect_warnings() as lines, threads.fitting_threads():
        assert numbers[-1] == expected
    assert numbers[-1] == own and lines == [f"busy with {expected}"]
