"""Caches arrays in files between runs.

The parameters of the arrays determine the name of their file. A checksum guards the contents.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gatesearch._lib import console
from gatesearch._lib.files import write_whole
from gatesearch.errors import UserError

Arrays = dict[str, npt.NDArray[Any]]
CHECKSUM_KEY = "sha256"  # the name under which a file stores the checksum of its arrays


def cache_path(folder: str | Path | None, stem: str, parameters: Mapping[str, Any]) -> Path:
    """Return the path of the file that caches the arrays of these parameters.

    Args:
        folder: the cache folder; None for the user's cache folder.
        stem: start of the file's name.
        parameters: everything that changes the arrays, in types that JSON can hold.
    """
    if folder is None:
        import platformdirs

        folder = platformdirs.user_cache_dir("gatesearch")
    text = json.dumps(parameters, sort_keys=True)
    return Path(folder).expanduser() / f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"


def digest(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """Return the SHA-256 of the arrays' names, types, shapes and contents, in hexadecimal.

    >>> digest({"a": np.zeros(3)}) == digest({"a": np.zeros(3)}) != digest({"a": np.ones(3)})
    True
    """
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def read(path: Path) -> Arrays | None:
    """Return the arrays, or None if the file is missing or corrupt; a corrupt file gives a warning."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if str(arrays.pop(CHECKSUM_KEY)) == digest(arrays):
            return arrays
        reason = "its checksum does not match"
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error) or type(error).__name__
    console.warn(f"{path}: corrupt ({reason}); recomputing")
    return None


def write(path: Path, arrays: Arrays) -> None:
    """Write the arrays; the file appears whole or not at all.

    A cache that cannot be written (no room, no permission) is not an error; a warning gives the reason.
    """
    content = io.BytesIO()
    np.savez(content, **arrays, **{CHECKSUM_KEY: np.array(digest(arrays))})  # type: ignore[arg-type]
    try:
        write_whole(path, content.getvalue())
    except (OSError, UserError) as error:
        console.warn(f"{path}: not cached ({error})")
