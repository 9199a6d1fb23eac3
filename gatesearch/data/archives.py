"""Reads .npz archives of users, with an error of one line for a broken file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gatesearch.data.wav_files import check_file
from gatesearch.errors import UserError, first_line

Arrays = dict[str, npt.NDArray[Any]]


def read_archive(path: Path, where: str, unreadable: str = "cannot be read") -> Arrays:
    """Return the arrays of an .npz, without running code that it may hold.

    Args:
        path: the path of the archive.
        where: the start of an error's line.
        unreadable: what to say of a file that is no archive; the reason follows.

    Raises:
        UserError: no such file, or no archive of plain arrays.
    """
    if not path.exists():
        raise UserError(f"{where}: no such file")
    try:
        check_file(path)
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except (
        AttributeError,  # an .npy, which is one array
        EOFError,
        KeyError,
        MemoryError,  # a header may promise any size
        NotImplementedError,  # compressed in a way that zipfile does not know
        OSError,
        RuntimeError,  # encrypted
        SyntaxError,  # a header that is no Python literal
        TypeError,
        UnicodeError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        reason = first_line(error)
        raise UserError(f"{where} {unreadable}: {reason}") from None


def check_whole(array: npt.NDArray[Any], name: str, where: str, *, count: int, most: int | None = None) -> None:
    """Check an array of whole numbers from 0.

    Args:
        array: any.
        name: the name of the array, for the error.
        where: the start of the error's line.
        count: how many numbers there have to be.
        most: the largest that is allowed; None for any.

    Raises:
        UserError: another shape or type, or a number out of its range.
    """
    if array.shape != (count,) or array.dtype.kind not in "iu":
        form = f"{array.dtype} {list(array.shape)}"
        raise UserError(f"{where}: {name} is {form}; wanted: whole numbers [{count}]")
    low, high = (int(array.min()), int(array.max())) if count else (0, 0)
    if low < 0 or (most is not None and high > most):
        bounds = "0 or more" if most is None else f"0 to {most}"
        raise UserError(f"{where}: {name} holds {low} to {high}; wanted: {bounds}")
