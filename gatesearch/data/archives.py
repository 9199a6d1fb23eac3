"""Reads users' .npz archives; the error for a broken file is one line."""

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
    """Return the arrays of an .npz, without running code that the file may contain.

    Args:
        path: the path of the archive.
        where: the start of an error message.
        unreadable: the part of the message that says that the file is no archive; the reason follows.

    Raises:
        UserError: the file does not exist, or is no archive of plain arrays.
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
        AttributeError,  # the file is an .npy, which is one array
        EOFError,
        KeyError,
        MemoryError,  # a header that promises more than fits into memory
        NotImplementedError,  # a compression that zipfile does not support
        OSError,
        RuntimeError,  # an encrypted archive
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
    """Check that an array holds whole numbers of 0 or more.

    Args:
        array: the array.
        name: the name of the array, for the error.
        where: the start of the error message.
        count: the required length of the array.
        most: the largest allowed number; None for no limit.

    Raises:
        UserError: the array has another shape or type, or a number is out of range.
    """
    if array.shape != (count,) or array.dtype.kind not in "iu":
        form = f"{array.dtype} {list(array.shape)}"
        raise UserError(f"{where}: {name} is {form}; wanted: whole numbers [{count}]")
    low, high = (int(array.min()), int(array.max())) if count else (0, 0)
    if low < 0 or (most is not None and high > most):
        bounds = "0 or more" if most is None else f"0 to {most}"
        raise UserError(f"{where}: {name} holds {low} to {high}; wanted: {bounds}")
