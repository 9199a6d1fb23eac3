"""Sources of recorded sound: class folders such as Speech Commands, archives, folders of recordings.

A source holds the clips of one split, from which scenes (labelled streams) are made.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from gatesearch import errors
from gatesearch.data import folders, recordings, wav
from gatesearch.data.scenes.settings import ClassFolders, ClipArchive, Kind, LongRecordings
from gatesearch.data.scenes.sources import Clip, Source, name_place
from gatesearch.data.scenes.spec import SPLIT_NAMES, SplitName
from gatesearch.data.split_lists import SPLIT_LISTS, read_split_lists
from gatesearch.data.wav_files import walk_wavs
from gatesearch.data.waveforms import Int16Waveform, resample
from gatesearch.errors import UserError

HELD_OUT_SHARE = 0.15  # share of the files or groups that validation and test get each
ALL_OTHERS = "*"  # stands for all classes that the settings do not name
SPEAKER_MARK = "_nohash_"  # follows the speaker in a file's name, as in Speech Commands
NO_SPEAKERS = "{where}: names no speakers, so that it is split by file; a speaker may be in two splits"
SPEECH_KINDS = ("speech", "near_word")


def load_folders(settings: ClassFolders, split: SplitName, sample_rate: float) -> Source:
    """Return the clips of a folder that has one folder of WAV files for each class.

    The lists of Speech Commands give the split of a clip. Without lists, the split follows from a hash of the speaker.
    Long recordings in ``_background_noise_`` are split by file.

    Raises:
        UserError: the folder does not exist, or lacks a class.
    """
    tree, place, nameless = folders.scan(settings.root), name_place(settings.root), False
    roles = _assign_roles(settings.events, settings.backgrounds, list(tree.files), f"sources.{settings.name}")
    clips = []
    for folder, (label, kind) in roles.items():
        files = tree.files[folder]
        long_splits = split_files([f"{folder}/{file}" for file in files]) if folder == folders.LONG_BACKGROUND else {}
        for file, path in files.items():
            name = f"{folder}/{file}"
            if long_splits.get(name, tree.split_of(folder, file)) != split:
                continue
            is_speech = label is not None or kind in SPEECH_KINDS
            speaker, has_speaker = folders.speaker_of(folder, file), SPEAKER_MARK in file
            nameless |= is_speech and not has_speaker
            clips.append(
                Clip(
                    source=settings.name,
                    name=name,
                    recording=f"{place}:{name}",
                    speaker=f"{place}:{speaker}" if is_speech and has_speaker else None,
                    label=label,
                    kind=kind,
                    read=partial(_read_wav, path, sample_rate),
                )
            )
    where = f"sources.{settings.name}"
    remarks = [NO_SPEAKERS.format(where=where)] if nameless else []
    if tree.listed is None and folders.BACKGROUND_FOLDERS[0] in roles:
        silence = folders.BACKGROUND_FOLDERS[0]
        remarks.append(f"{where}: {silence} is split by file; crops of one recording may be in two splits")
    return Source(
        name=settings.name, settings=settings.model_dump(mode="json"), clips=tuple(clips), remarks=tuple(remarks)
    )


def load_archive(settings: ClipArchive, split: SplitName, sample_rate: float) -> Source:
    """Return the clips of an .npz. The last fold or speaker is for test, the last but one for validation.

    With ten folds or speakers or more, the last 15 % are for test, and the 15 % before them for validation.

    Raises:
        UserError: the archive does not exist, lacks a class, or has fewer than three folds or speakers.
    """
    place = name_place(settings.root)
    archive = recordings.from_archive(Path(settings.root).expanduser())
    roles = _assign_roles(settings.events, settings.backgrounds, archive.classes, f"sources.{settings.name}")
    groups = sorted({each.group for each in archive.recordings}, key=_natural_order)
    if len(groups) < len(SPLIT_NAMES):
        raise UserError(f"sources.{settings.name}: {len(groups)} {archive.group_noun}, too few for three splits")
    split_of = _split_in_order(groups)
    clips = []
    for each in archive.recordings:
        role = roles.get(archive.classes[each.label])
        if role is None or split_of[each.group] != split:
            continue
        is_speech = role[0] is not None or role[1] in SPEECH_KINDS
        clips.append(
            Clip(
                source=settings.name,
                name=each.name,
                recording=f"{place}:{each.name}",
                speaker=f"{place}:{each.group}" if is_speech else None,
                label=role[0],
                kind=role[1],
                read=partial(_read_recording, each, sample_rate),
            )
        )
    return Source(name=settings.name, settings=settings.model_dump(mode="json"), clips=tuple(clips))


def load_recordings(settings: LongRecordings, split: SplitName, sample_rate: float) -> Source:
    """Return recordings of one kind of background, split by the folder's lists or by file.

    Raises:
        UserError: the folder does not exist, or holds fewer than three WAV files.
    """
    where = f"sources.{settings.name}"
    root = Path(settings.root).expanduser()
    if not root.is_dir():
        raise UserError(f"{where}: no folder {settings.root!r}")
    paths = {f"{folder}/{name}" if folder else name: path for folder, name, path in _walk(root, where)}
    if len(paths) < len(SPLIT_NAMES):
        raise UserError(f"{where}: {settings.root!r} holds {len(paths)} WAV files; wanted: 3 or more, one a split")
    if any((root / name).is_file() for name in SPLIT_LISTS):
        by_folder: dict[str, list[str]] = {}
        for name in paths:
            folder, _, file = name.rpartition("/")
            by_folder.setdefault(folder, []).append(file)
        listed, _ = read_split_lists(root, by_folder)
        split_of = {name: (listed or {}).get(name, "train") for name in paths}
    else:
        split_of = split_files(list(paths))
    is_speech, place = settings.background in SPEECH_KINDS, name_place(settings.root)
    clips = tuple(
        Clip(
            source=settings.name,
            name=name,
            recording=f"{place}:{name}",
            speaker=None,
            kind=settings.background,
            read=partial(_read_wav, path, sample_rate),
        )
        for name, path in paths.items()
        if split_of[name] == split
    )
    return Source(
        name=settings.name,
        settings=settings.model_dump(mode="json"),
        clips=clips,
        remarks=(NO_SPEAKERS.format(where=where),) if is_speech else (),
    )


def split_files(names: Sequence[str]) -> dict[str, str]:
    """Return the split of each file, 70/15/15 in the order of a hash of the names.

    Of three files or more, each split gets at least one.

    >>> sorted(split_files(["a", "b", "c"]).values())
    ['test', 'train', 'validation']
    """
    return _split_in_order(sorted(names, key=lambda name: hashlib.sha1(name.encode()).hexdigest()))


def _split_in_order(groups: Sequence[str]) -> dict[str, str]:
    held_out = max(1, round(HELD_OUT_SHARE * len(groups)))
    split_of = dict.fromkeys(groups, "train")
    if len(groups) >= len(SPLIT_NAMES):
        split_of |= dict.fromkeys(groups[-2 * held_out : -held_out], "validation")
        split_of |= dict.fromkeys(groups[-held_out:], "test")
    return split_of


def _assign_roles(
    events: Sequence[str], backgrounds: Mapping[Kind, Sequence[str]], classes: Sequence[str], where: str
) -> dict[str, tuple[str | None, str | None]]:
    """Return, for each class that is used, its label as an event or its kind of background.

    Folders of silence may be missing, as in some copies of Speech Commands.

    Raises:
        UserError: a class does not exist, or is named twice.
    """
    roles: dict[str, tuple[str | None, str | None]] = {}
    pairs: list[tuple[str, tuple[str | None, str | None]]] = [(name, (name, None)) for name in events]
    pairs += [(name, (None, kind)) for kind, names in backgrounds.items() for name in names if name != ALL_OTHERS]
    for name, role in pairs:
        if name not in classes:
            if role[0] is None and name in folders.BACKGROUND_FOLDERS:
                continue
            raise errors.unknown(where, "class", name, classes)
        if name in roles:
            raise UserError(f"{where}: class {name!r} is named twice")
        roles[name] = role
    others = [kind for kind, names in backgrounds.items() if ALL_OTHERS in names]
    if len(others) > 1:
        raise UserError(f"{where}: both {' and '.join(others)} take all other classes (*)")
    for kind in others:
        rest = [name for name in classes if name not in roles and not name.startswith("_")]
        roles |= dict.fromkeys(rest, (None, kind))
    return roles


def _walk(root: Path, where: str) -> Iterator[tuple[str, str, Path]]:
    for folder, files in walk_wavs(root, where):
        for name, path in files.paths.items():
            yield folder, name, path


def _natural_order(name: str) -> tuple[object, ...]:
    """Return a key for sorting by which ``fold 10`` comes after ``fold 9``."""
    return tuple(int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name))


def _read_wav(path: Path, sample_rate: float) -> Int16Waveform:
    return wav.read(path, round(sample_rate))


def _read_recording(recording: recordings.Recording, sample_rate: float) -> Int16Waveform:
    return resample(recording.read(), recording.sample_rate, round(sample_rate))
