"""Folders of labelled WAV files: their files, and the split of each file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gatesearch import errors
from gatesearch.errors import UserError

SPLIT_LISTS = {"validation_list.txt": "validation", "testing_list.txt": "test"}
LONG_BACKGROUND = "_background_noise_"  # long recordings, cut into clips
BACKGROUND_FOLDERS = ("_silence_", LONG_BACKGROUND)  # one of them may be absent
ANY_OTHER = "*"  # stands for every folder that no class names


@dataclass(frozen=True, slots=True)
class Tree:
    """The WAV files under a folder.

    Args:
        root: the folder.
        files: file names by class folder, both sorted.
        listed: split by ``<folder>/<file>``, or None where the tree has no lists.
    """

    root: Path
    files: Mapping[str, tuple[str, ...]]
    listed: Mapping[str, str] | None

    def split_of(self, folder: str, file: str) -> str:
        """Return the split of a file: by the lists, else 80/10/10 by :func:`hashed_split`."""
        if self.listed is not None:
            return self.listed.get(f"{folder}/{file}", "train")
        return hashed_split(speaker_of(folder, file))


def scan(root: str | Path) -> Tree:
    """List the WAV files and read the split lists under a folder.

    Raises:
        UserError: no such folder, no class folders in it, one list without the other, or a list that names a
            file that is not there.
    """
    top = Path(root).expanduser()
    if not top.is_dir():
        siblings = [p.name for p in top.parent.iterdir() if p.is_dir()] if top.parent.is_dir() else []
        close = errors.nearest(top.name, siblings)
        hint = f"nearest: '{top.parent / close}'" if close else "root=null synthesises speech"
        raise UserError(f"data.root: no folder {str(root)!r}; {hint}")
    folders = sorted(p for p in top.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = {f.name: tuple(sorted(w.name for w in f.iterdir() if w.suffix.lower() == ".wav")) for f in folders}
    if not files:
        raise UserError(f"data.root: {str(root)!r} holds no class folders; wanted: {top}/<class>/<clip>.wav")
    return Tree(top, files, _read_lists(top, files))


def _read_lists(top: Path, files: Mapping[str, tuple[str, ...]]) -> dict[str, str] | None:
    present = [name for name in SPLIT_LISTS if (top / name).is_file()]
    if not present:
        return None
    for name in SPLIT_LISTS:
        if name not in present:
            raise UserError(f"data.root: {top / present[0]} is there but {top / name} is not; both or none")
    present_files = {folder: set(names) for folder, names in files.items()}
    listed: dict[str, str] = {}
    for name, split in SPLIT_LISTS.items():
        for number, line in enumerate((top / name).read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            entry = line.strip()
            folder, _, file = entry.partition("/")
            if not entry:
                continue
            if file not in present_files.get(folder, ()):
                raise UserError(f"{top / name}:{number}: no file {entry!r}{_nearest_file(files, folder, file)}")
            if listed.setdefault(entry, split) != split:
                raise UserError(f"{top / name}:{number}: {entry!r} is in both lists")
    return listed


def _nearest_file(files: Mapping[str, tuple[str, ...]], folder: str, file: str) -> str:
    close_folder = folder if folder in files else errors.nearest(folder, files)
    close = errors.nearest(file, files[close_folder]) if close_folder else None
    return f"; nearest: '{close_folder}/{close}'" if close else ""


def speaker_of(folder: str, file: str) -> str:
    """Return who speaks, or what stands in for it.

    >>> speaker_of("yes", "0bac8a71_nohash_1.wav"), speaker_of("yes", "a.wav")
    ('0bac8a71', 'yes/a')
    """
    name, separator, _ = file.partition("_nohash_")
    return name if separator else f"{folder}/{Path(file).stem}"


def hashed_split(speaker: str) -> str:
    """Return the split of a speaker: train 80 %, validation 10 %, test 10 %.

    The same speaker is always in the same split, whatever other files come or go; this is ``which_set`` of
    Speech Commands (Warden 2018, section 7.1).

    >>> hashed_split("0bac8a71")
    'test'
    """
    share = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % (2**27) * (100.0 / (2**27 - 1))
    return "validation" if share < 10 else "test" if share < 20 else "train"


def assign(tree: Tree, positives: Sequence[str], negatives: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the folders of every class, positives first; ``"*"`` becomes every folder not named elsewhere.

    Raises:
        UserError: a folder that is not there, holds no WAV file, or belongs to two classes.
    """
    check_names(positives, negatives)
    classes = {word: [word] for word in positives}
    classes |= {name: list(folders) for name, folders in negatives.items()}
    named = {folder for folders in classes.values() for folder in folders}
    others = [f for f, files in tree.files.items() if files and f not in named and not f.startswith("_")]
    result: dict[str, list[str]] = {}
    for name, folders in classes.items():
        where = f"data.{'positives' if name in positives else f'negatives.{name}'}"
        usable = [f for f in folders if tree.files.get(f)]
        for folder in folders:
            if (
                folder == ANY_OTHER
                or folder in usable
                or (folder in BACKGROUND_FOLDERS and any(f in BACKGROUND_FOLDERS for f in usable))
            ):
                continue
            if folder in tree.files:
                raise UserError(f"{where}: {tree.root / folder} holds no WAV file")
            raise errors.unknown(f"{where}: {tree.root}", "class folder", folder, tree.files)
        result[name] = usable + (others if ANY_OTHER in folders else [])
        if not result[name]:
            raise UserError(f"{where}: no folder is left for '*' in {tree.root}; every one is named elsewhere")
    return result


def check_names(positives: Sequence[str], negatives: Mapping[str, Sequence[str]]) -> None:
    """Check what the user wrote about classes.

    Raises:
        UserError: no positives or negatives, a class or folder named twice, or a word that YAML read as true
            or false.

    >>> check_names(["yes"], {"_unknown_": ["*"]})
    """
    if isinstance(positives, str) or not positives:
        raise UserError(f"data.positives: {positives!r}; wanted: a list of words")
    if not isinstance(negatives, Mapping) or not negatives:
        raise UserError(f"data.negatives: {negatives!r}; wanted: class names with a list of folders each")
    for name, folders in negatives.items():
        if isinstance(folders, str) or not folders:
            raise UserError(f"data.negatives.{name}: {folders!r}; wanted: a list of folders")
    owner: dict[str, str] = {}
    pairs = [("positives", word) for word in positives]
    pairs += [(f"negatives.{name}", folder) for name, folders in negatives.items() for folder in folders]
    for key, word in pairs:
        if not isinstance(word, str) or not word.strip():
            raise UserError(f'data.{key}: {word!r} is not a word; write it in quotes, as in "yes" or "on"')
        if word in owner:
            raise UserError(f"data.{key}: {word!r} is already in data.{owner[word]}")
        owner[word] = key
    for name in negatives:
        if name in positives:
            raise UserError(f"data.negatives.{name}: a positive has this name")
