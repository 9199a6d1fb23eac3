"""A cache of arrays between runs: the parameters determine the file's name, a checksum guards its contents."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]
DIGEST = "sha256"


def path_of(folder: str | Path | None, stem: str, parameters: Mapping[str, Any]) -> Path:
    """Return the file of the arrays that these parameters determine.

    Args:
        folder: None is the user's cache folder.
        stem: start of the file's name.
        parameters: JSON-ready; anything that changes the arrays.
    """
    if folder is None:
        import platformdirs

        folder = platformdirs.user_cache_dir("gatesearch")
    text = json.dumps(parameters, sort_keys=True)
    return Path(folder).expanduser() / f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"


def digest(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """Return the SHA-256 of names, types, shapes and contents.

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
    """Return the arrays, or None where there are none or they are damaged; standard error then names the damage."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if str(arrays.pop(DIGEST)) == digest(arrays):
            return arrays
        reason = "its checksum does not match"
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error) or type(error).__name__
    print(f"{path}: damaged ({reason}); making it anew", file=sys.stderr)
    return None


def write(path: Path, arrays: Arrays) -> None:
    """Write the arrays; the file appears whole or not at all.

    A cache that cannot be written (no room, no permission) costs only time: standard error names the reason.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.stem, suffix=".part", delete=False) as file:
            temporary = file.name
            np.savez(file, **arrays, **{DIGEST: np.array(digest(arrays))})  # type: ignore[arg-type]
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        print(f"{path}: not kept ({error.strerror or error})", file=sys.stderr)
    finally:  # also when interrupted
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
