"""Lets the C library reuse freed memory, so that a training does not request the same pages in each step.

The GNU C library returns large blocks to the kernel as soon as they are free. The activations of a batch are such
blocks. So in each step of a training, the first write to each of their pages is a page fault. A step of a DS-CNN has
thousands of page faults, which take a fifth of its time.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # parameters of mallopt(3), as in malloc.h
REUSED_BYTES = 1 << 30  # smaller blocks come from the heap, and the heap keeps at most as much free memory at its end
MAX_MMAP_BYTES = 32 << 20  # largest threshold that all versions of the library accept, and up to which theirs adapts
DEFAULT_TRIM_BYTES = 2 * MAX_MMAP_BYTES  # the trim threshold that belongs to it

_lock = threading.Lock()
_contexts = 0  # number of contexts that are open


@contextmanager
def memory_reuse() -> Iterator[None]:
    """Reuse the freed memory of this process within the context, and return it to the kernel at the end.

    If contexts overlap, the memory is returned at the end of the last. Without the GNU C library, nothing changes.
    """
    _count(+1)
    try:
        yield
    finally:
        _count(-1)


def _count(change: int) -> None:
    """Count a context that opens or closes; the first one sets the thresholds, the last one resets them."""
    global _contexts
    library = _c_library()
    if library is None:
        return
    with _lock:
        before, _contexts = _contexts, _contexts + change
        if before == 0:
            if not library.mallopt(MMAP_THRESHOLD, REUSED_BYTES):
                library.mallopt(MMAP_THRESHOLD, MAX_MMAP_BYTES)
            library.mallopt(TRIM_THRESHOLD, REUSED_BYTES)
        elif _contexts == 0:
            library.mallopt(MMAP_THRESHOLD, MAX_MMAP_BYTES)
            library.mallopt(TRIM_THRESHOLD, DEFAULT_TRIM_BYTES)
            library.malloc_trim(0)


@functools.cache
def _c_library() -> ctypes.CDLL | None:
    """Return the C library of this process; None if it is not the GNU C library."""
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
