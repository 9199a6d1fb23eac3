"""Finds the labelled WAV files under a folder, and the class and the split of each file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gatesearch import errors
from gatesearch.data.class_names import POSITIVE_KIND
from gatesearch.data.split_lists import read_split_lists
from gatesearch.data.wav_files import WavFiles, compose, describe_names, find_wavs, list_folder
from gatesearch.errors import UserError

LONG_BACKGROUND = "_background_noise_"  # the folder of long recordings, which are cut into clips
BACKGROUND_FOLDERS = ("_silence_", LONG_BACKGROUND)  # a class may name both even if only one of them exists
ANY_OTHER = "*"  # stands for the folders that no class names


@dataclass(frozen=True, slots=True)
class Tree:
    """The WAV files under a folder.

    Args:
        root: the folder.
        files: for each class folder, the paths by file name; both are sorted, and names are in Unicode's composed form.
        listed: the split of each ``<folder>/<file>`` in ``validation_list.txt`` and ``testing_list.txt``; None if
            there are no such lists.
        remarks: lines that say which files and folders were left out.
    """

    root: Path
    files: Mapping[str, Mapping[str, Path]]
    listed: Mapping[str, str] | None
    remarks: tuple[str, ...] = ()

    def split_of(self, folder: str, file: str) -> str:
        """Return the split of a file from the split lists; if there are no lists, :func:`hashed_split` decides."""
        if self.listed is not None:
            return self.listed.get(f"{folder}/{file}", "train")
        return hashed_split(speaker_of(folder, file))

    def path(self, name: str) -> Path:
        """Return the path of ``<folder>/<file>``."""
        folder, _, file = name.partition("/")
        return self.files[folder][file]


def scan(root: str | Path) -> Tree:
    """List the WAV files and read the split lists under a folder.

    Raises:
        UserError: the folder does not exist, it has no class folders, a folder cannot be listed, there is only one of
            the lists, or a list names a missing file.
    """
    top = Path(root).expanduser()
    where = "data.root"
    if not top.is_dir():
        siblings = [p.name for p in top.parent.iterdir() if p.is_dir()] if top.parent.is_dir() else []
        close = errors.nearest(top.name, siblings)
        hint = f"nearest: '{top.parent / close}'" if close else "root=null synthesises speech"
        raise UserError(f"{where}: no folder {str(root)!r}; {hint}")
    entries = list_folder(top, where)
    folders = {name: path for name, path in entries.items() if path.is_dir() and not name.startswith(".")}
    if not folders:
        raise UserError(f"{where}: {str(root)!r} holds no class folders; wanted: {top}/<class>/<clip>.wav")
    for name, path in folders.items():
        if not name.isprintable():
            raise UserError(f"{where}: {path}: its name has characters that cannot be printed; rename it")
    contents = {name: find_wavs(path, where) for name, path in folders.items()}
    files = {name: content.paths for name, content in contents.items()}
    listed, remarks = read_split_lists(top, files)
    return Tree(root=top, files=files, listed=listed, remarks=(*_remark(contents), *remarks))


def _remark(contents: Mapping[str, WavFiles]) -> list[str]:
    """Return remarks on the files in class folders that are not read."""
    kinds = {
        "hidden files are left out": [
            f"{name}/{file}" for name, content in contents.items() for file in content.hidden
        ],
        "sound files are not .wav files and are left out": [
            f"{name}/{file}" for name, content in contents.items() for file in content.other
        ],
        "folders within class folders are left out": [
            f"{name}/{folder}" for name, content in contents.items() for folder in content.folders
        ],
    }
    return [describe_names(noun, names) for noun, names in kinds.items() if names]


def speaker_of(folder: str, file: str) -> str:
    """Return the speaker in a file's name, or the folder and the file if the name has no speaker.

    >>> speaker_of("yes", "0bac8a71_nohash_1.wav"), speaker_of("yes", "a.wav")
    ('0bac8a71', 'yes/a')
    """
    name, separator, _ = file.partition("_nohash_")
    return name if separator else f"{folder}/{Path(file).stem}"


def hashed_split(speaker: str) -> str:
    """Return the split of a speaker: train 80 %, validation 10 %, test 10 %.

    A speaker stays in the same split when other files are added or removed. The rule is ``which_set`` of Speech
    Commands (Warden 2018, section 7.1).

    >>> hashed_split("0bac8a71")
    'test'
    """
    share = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % (2**27) * (100.0 / (2**27 - 1))
    return "validation" if share < 10 else "test" if share < 20 else "train"


def assign(tree: Tree, positives: Sequence[str], negatives: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the folders of every class, positives first.

    ``"*"`` becomes every folder with WAV files that no class names and whose name does not start with ``_``.

    Raises:
        UserError: a folder does not exist, holds no WAV file or belongs to two classes, or no folder is left for
            ``"*"``.
    """
    check_names(positives, negatives)
    classes = {word: [compose(word)] for word in positives}
    classes |= {name: [compose(folder) for folder in folders] for name, folders in negatives.items()}
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
    """Check the names of classes and folders that the user wrote.

    Raises:
        UserError: there are no positives or no negatives, a class or folder is named twice, or YAML read a word as true
            or false.

    >>> check_names(["yes"], {"_unknown_": ["*"]})
    """
    if isinstance(positives, str) or not isinstance(positives, Sequence) or not positives:
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
        if compose(word) in owner:
            raise UserError(f"data.{key}: {word!r} is already in data.{owner[compose(word)]}")
        owner[compose(word)] = key
    for name in negatives:
        if not isinstance(name, str) or not name.strip():
            raise UserError(f"data.negatives: {name!r} is no name of a class; write it in quotes")
        if name in positives:
            raise UserError(f"data.negatives.{name}: a positive has this name")
        if name.strip() == POSITIVE_KIND:
            raise UserError(f"data.negatives.{name}: this name stands for all positives together; wanted: another name")
