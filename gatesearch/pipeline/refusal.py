"""What a run that is refused leaves behind: nothing before its first training, its reason after that."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gatesearch.errors import UserError
from gatesearch.pipeline.run_dir import RunFolder

# One of them is there as soon as the first training has begun: its checkpoints, or its weights.
BEGUN = ("logs/baseline", "baseline.ckpt")


@contextmanager
def removed_unless_begun(folder: RunFolder, earlier: frozenset[str] | None) -> Iterator[None]:
    """Remove what a new run has written, where it is refused before its first training begins.

    Args:
        folder: of the run, which this process holds the lock of.
        earlier: what :func:`list_entries` returned before the run made its folder.
    """
    try:
        yield
    except UserError:
        if not any((folder / name).exists() for name in BEGUN):
            _remove_new(folder.path, earlier)
        raise


@contextmanager
def stored_refusal(folder: RunFolder) -> Iterator[None]:
    """Store why a session ended, where the user can mend it: a warning of the run from then on."""
    try:
        yield
    except UserError as error:
        with suppress(UserError, OSError):  # it may be that nothing can be written
            folder.store_warning(f"a session ended with an error: {error}")
        raise


def list_entries(path: Path | None) -> frozenset[str] | None:
    """Return the names that a folder holds; None where it is not there, or has no name yet."""
    if path is None:
        return None
    try:
        return frozenset(os.listdir(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):  # the run folder says what is wrong with it
        return frozenset()


def _remove_new(path: Path, earlier: frozenset[str] | None) -> None:
    if earlier is None:
        shutil.rmtree(path, ignore_errors=True)
        return
    for name in set(os.listdir(path)) - earlier:
        if (path / name).is_dir():
            shutil.rmtree(path / name, ignore_errors=True)
        else:
            (path / name).unlink(missing_ok=True)
