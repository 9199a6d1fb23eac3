"""Finds WAV files in folders; handles links, hidden files and names in two Unicode forms."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gatesearch.errors import UserError

OTHER_SOUND = (".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".wave", ".w64", ".raw", ".pcm")


@dataclass(frozen=True, slots=True)
class WavFiles:
    """The WAV files of a folder.

    Args:
        paths: the path of each name; a name is in Unicode's composed form, whatever the form on the file system.
        hidden: names of hidden WAV files, such as those that macOS adds (``._a.wav``).
        other: names of sound files of another format.
        folders: names of folders.
    """

    paths: dict[str, Path] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)


def compose(name: str) -> str:
    """Return a name in Unicode's composed form (NFC), so that equal names are equal sequences of code points."""
    return unicodedata.normalize("NFC", name)


def list_folder(folder: Path, where: str) -> dict[str, Path]:
    """Return the paths in a folder by their composed names, sorted.

    Raises:
        UserError: the folder cannot be listed, or two names differ in their Unicode form alone.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"{where}: {folder} cannot be read ({error.strerror})") from None
    entries: dict[str, Path] = {}
    for path in paths:
        name = compose(path.name)
        if name in entries:
            raise UserError(f"{where}: {folder} holds two files named {name!r}, in two forms of Unicode; rename one")
        entries[name] = path
    return dict(sorted(entries.items()))


def find_wavs(folder: Path, where: str) -> WavFiles:
    """Find the WAV files of one folder; hidden files are listed separately."""
    result = WavFiles()
    for name, path in list_folder(folder, where).items():
        suffix = Path(name).suffix.lower()
        if name.startswith("."):
            result.hidden.extend([name] if suffix == ".wav" else [])
        elif suffix == ".wav":
            result.paths[name] = path
        elif path.is_dir():
            result.folders.append(name)
        elif suffix in OTHER_SOUND:
            result.other.append(name)
    return result


def walk_wavs(root: Path, where: str) -> Iterator[tuple[str, WavFiles]]:
    """Yield the root and each folder below it: the folder's name relative to the root, and its WAV files.

    Links to folders are followed. Each folder comes once, even if links make a circle.
    """
    seen_folders: set[str] = set()
    pending = [("", root)]
    while pending:
        name, folder = pending.pop()
        place = os.path.realpath(folder)
        if place in seen_folders:
            continue
        seen_folders.add(place)
        files = find_wavs(folder, where)
        yield name, files
        entries = list_folder(folder, where)
        pending += [(f"{name}/{inner}" if name else inner, entries[inner]) for inner in reversed(files.folders)]


def check_file(path: Path) -> None:
    """Check that a path is a regular file, because reading a pipe or a device could wait forever.

    Raises:
        UserError: the path is no regular file, or its name is not UTF-8, so that no report can show it.
    """
    try:
        str(path).encode()
        mode = path.stat().st_mode
    except UnicodeEncodeError:
        raise UserError(f"{path} has a name that is no UTF-8; rename it") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not stat.S_ISREG(mode):
        raise UserError(f"{path} is no regular file")


def describe_names(count_noun: str, names: list[str]) -> str:
    """Return the number of names, and the first name.

    >>> describe_names("hidden files", ["yes/._a.wav", "yes/._b.wav"])
    "2 hidden files, first: 'yes/._a.wav'"
    """
    return f"{len(names)} {count_noun}, first: {names[0]!r}"
