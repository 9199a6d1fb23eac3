"""A context in which a test works in a folder of its own, with a cache inside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Work in a folder, with a cache inside it and with one torch thread."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.chdir(folder)
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)
