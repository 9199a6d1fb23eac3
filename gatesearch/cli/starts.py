"""Recognises the data that a user names, and says with which shipped recipe a recipe for it begins.

``gatesearch init`` looks at a folder before it asks anything, so that its questions have defaults that fit the data.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from gatesearch.errors import UserError, nearest

IMAGES = (".png", ".jpg", ".jpeg", ".bmp")
TABLES = (".csv", ".tsv")
TRACKS = (".txt", ".csv")
MAX_HEADERS = 200  # files whose length and rate are read; a data set may have 100,000
SPEECH_RATE_HZ = 16000
OWN_LOADER = "docs/tutorials/own_network.md shows how a function of your own loads it: data=my_module:load"
SHIPPED = {"digits": "digits_hybrid.yaml", "cifar10": "cifar10_hybrid.yaml", "har": "har_hmd.yaml"}
"""Data sets that a shipped recipe names, with that recipe."""


@dataclass(frozen=True, slots=True)
class Start:
    """What ``init`` knows about some data, before it asks.

    Args:
        what: the data in a sentence.
        recipes: the shipped recipe to begin with, for each goal that the data allow; the first goal is the default.
        data: keys of the recipe's group ``data``; those of the shipped recipe stay if ``name`` is not among them.
        name: the name of the recipe's file, without its suffix.
        groups: other keys of the recipe at its top level that follow from the data.
        words: folders that may hold the words to wake for; empty if there is nothing to choose.
        others: further folders, with backgrounds.
        doubts: lines that say what the data lack for a run.
    """

    what: str
    recipes: Mapping[str, str]
    data: Mapping[str, Any]
    name: str
    groups: Mapping[str, Any] = field(default_factory=dict)
    words: Sequence[str] = ()
    others: Sequence[str] = ()
    doubts: Sequence[str] = ()


def look_at(written: str) -> Start:
    """Return what there is to know about the data that a user names.

    Args:
        written: a folder, the name of a shipped data set, or ``package.module:function``.

    Raises:
        UserError: there is no such data, or ``init`` cannot write a recipe for it.
    """
    if ":" in written:
        recipes = {"classification": "kws_clips.yaml"}
        groups = {"frontend": {"name": "identity"}, "augment": None, "stream": {"shares": {"positive": 1.0}}}
        return Start(f"data of {written}", recipes, {"name": written}, written.rpartition(":")[2], groups)
    folder = Path(written).expanduser()
    if not folder.exists() and written in SHIPPED:
        return Start(f"the data set {written}", {"classification": SHIPPED[written]}, {"name": written}, written)
    if not folder.is_dir():
        raise UserError(f"data={written}: {_explain_missing(written, folder)}")
    for look in LOOKS:
        if (start := look(folder, written)) is not None:
            return start
    raise UserError(
        f"data={written}: no WAV files, images or tables; wanted: {folder}/CLASS/FILE.wav, such as {folder}/hey/01.wav"
    )


def speak(phrase: str) -> Start:
    """Return the start for a typed phrase, which eSpeak NG speaks in many voices."""
    name = "".join(letter if letter.isalnum() else "_" for letter in phrase.casefold())
    return Start(f"{phrase!r}, spoken by eSpeak NG", {"detection": "wake_word.yaml"}, {"phrase": phrase}, name)


def _explain_missing(written: str, folder: Path) -> str:
    if folder.is_file():
        return "is a file; wanted: a folder"
    siblings = [path.name for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
    close = nearest(written, SHIPPED) or nearest(folder.name, siblings)
    choices = f"a folder, {', '.join(SHIPPED)}, or package.module:function"
    return f"no such folder or data set; {f'nearest: {close!r} ' if close else ''}(choices: {choices})"


def _look_for_words(folder: Path, written: str) -> Start | None:
    """Recognise folders of WAV files, one for each class, such as those of Speech Commands."""
    classes = [path for path in _list_folders(folder) if next(path.glob("*.wav"), None) is not None]
    if not classes:
        return None
    from gatesearch.data.folders import BACKGROUND_FOLDERS, scan
    from gatesearch.data.types import SPLITS
    from gatesearch.data.wav_blocks import read_length

    tree = scan(folder)
    files = [path for each in classes for path in islice(sorted(each.glob("*.wav")), MAX_HEADERS // len(classes) + 1)]
    words = [path.name for path in classes if path.name not in BACKGROUND_FOLDERS]
    clips = [path for path in files if path.parent.name in words] or files
    lengths, rates = zip(*(read_length(path) for path in clips), strict=True)
    seconds = max(0.5, round(statistics.quantiles([*lengths, *lengths], n=10)[-1], 1))
    rate = min(SPEECH_RATE_HZ, *rates)
    count = sum(1 for each in classes for _ in each.glob("*.wav"))
    present = {(word, tree.split_of(word, file)) for word in words for file in tree.files[word]}
    missing = [(word, split) for word in words for split in SPLITS if (word, split) not in present]
    lists = "without" if tree.listed is None else "with"
    what = (
        f"{written}: {count:,} WAV files in {len(classes)} folders, {lists} split lists; nine of ten last at most "
        f"{seconds:g} s; lowest rate {min(rates):,} Hz"
    )
    return Start(
        what,
        {"detection": "wake_word.yaml", "classification": "kws_clips.yaml"},
        {"root": written, "seconds": seconds, "sample_rate": rate},
        folder.resolve().name,
        words=words,
        others=[path.name for path in classes if path.name not in words],
        doubts=[f"{word}: no file in the {split} split; record more" for word, split in missing],
    )


def _look_for_tracks(folder: Path, written: str) -> Start | None:
    wavs = sorted(folder.glob("*.wav"))
    if not wavs:
        return None
    labelled = [path for path in wavs if any(path.with_suffix(suffix).is_file() for suffix in TRACKS)]
    if labelled:
        raise UserError(
            f"data={written}: {len(labelled)} recordings with label tracks; no recipe reads them; "
            "docs/streams.md shows how a program does: read_recording, from_scenes"
        )
    raise UserError(
        f"data={written}: {len(wavs)} WAV files without class folders or label tracks; wanted: one folder for each "
        f"word, such as {folder}/hey/01.wav"
    )


def _look_for_images(folder: Path, written: str) -> Start | None:
    if not _has_files(folder, IMAGES):
        return None
    raise UserError(f"data={written}: images; no loader of gatesearch reads a folder of images; {OWN_LOADER}")


def _look_for_tables(folder: Path, written: str) -> Start | None:
    if not _has_files(folder, TABLES):
        return None
    raise UserError(f"data={written}: tables; no loader of gatesearch reads a folder of tables; {OWN_LOADER}")


LOOKS: Sequence[Callable[[Path, str], Start | None]] = (
    _look_for_words,
    _look_for_tracks,
    _look_for_images,
    _look_for_tables,
)
"""Functions that recognise a kind of data in a folder, the most certain first; each returns None if it does not."""


def _has_files(folder: Path, suffixes: Sequence[str]) -> bool:
    """Say whether a folder, or a folder in it, holds a file with one of the suffixes."""
    places = [folder, *_list_folders(folder)]
    return any(path.suffix.lower() in suffixes for place in places for path in place.iterdir())


def _list_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
