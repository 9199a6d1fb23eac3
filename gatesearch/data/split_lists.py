"""Reads the lists of Speech Commands that say which files are held out for validation and test."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Mapping
from pathlib import Path

from gatesearch import errors
from gatesearch.data.wav_files import compose, describe_names
from gatesearch.errors import UserError

SPLIT_LISTS = {"validation_list.txt": "validation", "testing_list.txt": "test"}
BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

Files = Mapping[str, Collection[str]]  # names of files by folder


def read_split_lists(top: Path, files: Files) -> tuple[dict[str, str] | None, list[str]]:
    """Read the lists of a folder.

    Entries of missing class folders are left out, because a copy of Speech Commands may lack words. A list may come
    from Windows, with a byte order mark and backslashes.

    Args:
        top: the folder.
        files: for each class folder, the names of its files.

    Returns:
        The split of each ``<folder>/<file>``, or None if there are no lists; and remarks for the user.

    Raises:
        UserError: there is only one of the lists, an entry names a missing file, or a file is in both lists.
    """
    present = [name for name in SPLIT_LISTS if (top / name).is_file()]
    if not present:
        return None, []
    for name in SPLIT_LISTS:
        if name not in present:
            raise UserError(f"data.root: {top / present[0]} is there but {top / name} is not; both or none")
    split_of: dict[str, str] = {}
    absent: list[tuple[str, str]] = []
    for name, split in SPLIT_LISTS.items():
        for number, line in enumerate(_read_lines(top / name), 1):
            if not line.strip():
                continue
            entry = _find_entry(compose(line.strip()), files)
            folder, _, file = entry.partition("/")
            where = f"{top / name}:{number}"
            if folder not in files and file:
                absent.append((entry, where))
                continue
            if file not in files.get(folder, ()):
                raise _no_file(where, entry, files)
            if split_of.setdefault(entry, split) != split:
                raise UserError(f"{where}: {entry!r} is in both lists")
    if absent and not split_of:
        entry, where = absent[0]
        raise _no_file(where, entry, files)
    remark = describe_names("files of folders that are not there", [entry for entry, _ in absent]) if absent else ""
    return split_of, [f"the lists name {remark}"] if remark else []


def _read_lines(path: Path) -> list[str]:
    try:
        raw = path.read_bytes()
        encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if raw.startswith(mark)), "utf-8")
        return raw.decode(encoding).split("\n")
    except UnicodeDecodeError as error:
        number = raw[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{number}: is no UTF-8; save the list as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def _find_entry(entry: str, files: Files) -> str:
    """Return an entry as ``<folder>/<file>``; a backslash counts as a separator unless a file has it in its name."""
    folder, _, file = entry.partition("/")
    if file in files.get(folder, ()):
        return entry
    return entry.replace("\\", "/").removeprefix("./")


def _no_file(where: str, entry: str, files: Files) -> UserError:
    """Return the error for an entry without a file. The error names the nearest file; finding this file is slow."""
    folder, _, file = entry.partition("/")
    close_folder = folder if folder in files else errors.nearest(folder, files)
    close = errors.nearest(file, files[close_folder]) if close_folder else None
    hint = f"; nearest: '{close_folder}/{close}'" if close else ""
    return UserError(f"{where}: no file {entry!r}{hint}")
