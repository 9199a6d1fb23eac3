"""Freed memory is reused within a context, and returned to the kernel behind the last one."""

from __future__ import annotations

import resource

import pytest
import torch

from gatesearch._lib import allocator
from gatesearch._lib.allocator import memory_reuse


class FakeLibrary:
    """A C library that accepts thresholds up to a limit, and records them."""

    def __init__(self, limit: int) -> None:
        self.limit, self.thresholds, self.trims = limit, {}, 0

    def mallopt(self, parameter: int, value: int) -> int:
        if parameter == allocator.MMAP_THRESHOLD and value > self.limit:
            return 0
        self.thresholds[parameter] = value
        return 1

    def malloc_trim(self, pad: int) -> int:
        self.trims += 1
        return 1


@pytest.mark.parametrize("limit", [allocator.MAX_MMAP_BYTES, allocator.REUSED_BYTES])
def test_the_last_of_several_contexts_resets_the_library(monkeypatch, limit: int):
    library = FakeLibrary(limit)
    monkeypatch.setattr(allocator, "_c_library", lambda: library)
    with memory_reuse():
        with pytest.raises(ValueError, match="within"), memory_reuse():
            raise ValueError("within")
        assert library.thresholds[allocator.MMAP_THRESHOLD] == limit and library.trims == 0
        assert library.thresholds[allocator.TRIM_THRESHOLD] == allocator.REUSED_BYTES
    assert library.thresholds[allocator.MMAP_THRESHOLD] == allocator.MAX_MMAP_BYTES and library.trims == 1
    assert library.thresholds[allocator.TRIM_THRESHOLD] == allocator.DEFAULT_TRIM_BYTES


def test_another_c_library_stays_as_it_is(monkeypatch):
    monkeypatch.setattr(allocator, "_c_library", lambda: None)
    with memory_reuse(), memory_reuse():
        pass


@pytest.mark.skipif(allocator._c_library() is None, reason="needs the GNU C library")
def test_repeated_allocations_cause_no_page_faults():
    def count_faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            torch.ones(8 << 20)  # 32 MiB, or 8,192 pages
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    with memory_reuse():
        count_faults()
        assert count_faults() < 1000
