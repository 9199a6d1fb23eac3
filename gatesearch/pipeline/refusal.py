"""Cleans up after a run that ends with an error.

If the error comes before the first training, the files of the run are removed. If it comes later, the files stay, and
the error is stored as a warning of the run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gatesearch.errors import UserError
from gatesearch.pipeline.run_dir import RunFolder

# Checkpoints and weights of the baseline. One of them exists as soon as the first training has started.
TRAINING_FILES = ("logs/baseline", "baseline.ckpt")


@contextmanager
def remove_unless_started(folder: RunFolder, earlier: frozenset[str] | None) -> Iterator[None]:
    """Remove the files of a new run that is refused before its first training starts.

    Args:
        folder: the folder of the run; this process holds its lock.
        earlier: the entries of the folder before the run, as :func:`list_entries` returned them.
    """
    try:
        yield
    except UserError:
        if not any((folder / name).exists() for name in TRAINING_FILES):
            _remove_new(folder.path, earlier)
        raise


@contextmanager
def store_refusal(folder: RunFolder) -> Iterator[None]:
    """If an error that a user can fix ends a session, add the error to the warnings of the run."""
    try:
        yield
    except UserError as error:
        with suppress(UserError, OSError):  # the folder may not be writable
            folder.store_warning(f"a session ended with an error: {error}")
        raise


def list_entries(path: Path | None) -> frozenset[str] | None:
    """Return the names in a folder; None if the folder does not exist, or if ``path`` is None."""
    if path is None:
        return None
    try:
        return frozenset(os.listdir(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):  # RunFolder reports what is wrong with the folder
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
