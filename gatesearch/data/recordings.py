"""Recordings to cut windows from: a folder of WAV files, an archive, or speech synthesis."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gatesearch.data import folders, wav
from gatesearch.data.types import SPLITS, Split
from gatesearch.data.wav import Progress
from gatesearch.data.waveforms import Int16Waveform
from gatesearch.errors import UserError

WORDS = ("yes", "seven", "forward", "happy")  # that the synthesiser says
CLASSES = ("speech", "noise")


@dataclass(frozen=True)
class Recording:
    """One recording; recordings of one ``group`` stay in one split."""

    name: str
    label: int
    group: str
    sample_rate: int
    read: Callable[[], Int16Waveform]


@dataclass(frozen=True)
class Recordings:
    """A set of recordings.

    Args:
        name: of the set.
        source: where it came from and how it is split, for the report.
        classes: names of the labels.
        recordings: all of them.
        group_noun: name of what a group is, in the plural, for errors.
        split_of: the split of a recording where the set itself says; None where groups are drawn at random.
    """

    name: str
    source: str
    classes: Sequence[str]
    recordings: Sequence[Recording]
    group_noun: str
    split_of: Callable[[Recording], str] | None = None


def from_folder(root: Path) -> Recordings:
    """Find WAV files at any depth; files in one folder of the top level have one label.

    Lists of Speech Commands (``validation_list.txt``, ``testing_list.txt``) say who is held out; without them a group
    is a speaker, where names tell (``<speaker>_nohash_<n>.wav``), or a file.

    Raises:
        UserError: no WAV file, or one that cannot be read.
    """
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() == ".wav")
    if not paths:
        raise UserError(f"data.root: {str(root)!r} holds no WAV file")
    relative = [path.relative_to(root) for path in paths]
    tops = [str(path.parts[0]) if len(path.parts) > 1 else root.name for path in relative]
    classes = sorted(set(tops))
    recordings = [
        Recording(
            name=str(name),
            label=classes.index(top),
            group=folders.speaker_of(top, path.name),
            sample_rate=wav.sample_rate(path),
            read=partial(wav.read, path, wav.sample_rate(path)),
        )
        for path, name, top in zip(paths, relative, tops, strict=True)
    ]
    listed = folders.scan(root).listed if any((root / name).is_file() for name in folders.SPLIT_LISTS) else None
    by = "its own lists" if listed is not None else "speaker or file"
    return Recordings(
        root.resolve().name,
        f"{len(paths)} WAV files in {root.resolve().name}, split by {by}",
        classes,
        recordings,
        "speakers or files",
        None if listed is None else lambda recording: listed.get(recording.name, "train"),
    )


def from_archive(path: Path) -> Recordings:
    """Take clips from an ``.npz``.

    ``audio`` is int16 [clips, samples], or [samples] with ``offsets`` [clips + 1]. ``label`` [clips] indexes
    ``classes``. Clips of one ``fold`` or ``speaker`` [clips] stay in one split.

    Raises:
        UserError: the file cannot be read, or lacks one of these arrays.
    """
    where = f"data.root: {path}"
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays: dict[str, npt.NDArray[Any]] = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise UserError(f"{where}: no such folder or file") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{where}: neither a folder of WAV files nor an .npz ({error})") from None
    group = next((name for name in ("fold", "speaker") if name in arrays), None)
    for name in ("audio", "sample_rate", "label"):
        if name not in arrays:
            raise UserError(f"{where}: holds no {name!r}; it holds: {', '.join(arrays)}")
    if group is None:
        raise UserError(f"{where}: neither 'fold' nor 'speaker' tells which clips belong together")
    audio, labels = arrays["audio"], arrays["label"]
    starts = arrays["offsets"][:-1] if "offsets" in arrays else np.arange(len(labels)) * audio.shape[1]
    ends = arrays["offsets"][1:] if "offsets" in arrays else starts + audio.shape[1]
    flat = audio.reshape(-1)
    classes = arrays["classes"].tolist() if "classes" in arrays else [str(i) for i in range(int(labels.max()) + 1)]
    recordings = [
        Recording(
            name=f"{classes[int(label)]}/{i}",
            label=int(label),
            group=f"{group} {member}",
            sample_rate=int(arrays["sample_rate"]),
            read=partial(flat.__getitem__, slice(int(start), int(end))),
        )
        for i, (label, member, start, end) in enumerate(zip(labels, arrays[group], starts, ends, strict=True))
    ]
    return Recordings(
        path.stem,
        f"{len(recordings)} clips of {path.name}, no {group} in two splits",
        [str(name) for name in classes],
        recordings,
        f"{group}s",
    )


def synthesise(
    sample_rate: int,
    seconds: float,
    windows: int,
    seed: int,
    cache_dir: str | Path | None,
    progress: Progress | None,
) -> Recordings:
    """Synthesise words and noise, enough for a number of windows; see :mod:`gatesearch.data.synthetic`."""
    from gatesearch.data import synthetic

    # Clips of two windows, 70 % of them to train on, in two classes more than there are words; some are too quiet.
    clips = max(synthetic.FEWEST_CLIPS, round(1.2 * windows / 2 / 0.7 / (len(WORDS) + len(folders.BACKGROUND_FOLDERS))))
    data = synthetic.load(
        WORDS,
        {name: [name] for name in folders.BACKGROUND_FOLDERS},
        seed,
        clips,
        sample_rate,
        2 * seconds,
        cache_dir,
        progress,
    )
    recordings = []
    for name in SPLITS:
        split: Split = getattr(data, name)
        for clip, label, wave in zip(split.names, split.labels, split.inputs, strict=True):
            is_noise = int(label) >= len(WORDS)
            recordings.append(
                Recording(name=clip, label=int(is_noise), group=name, sample_rate=sample_rate, read=wave.numpy)
            )
    return Recordings(
        name="synthetic sound",
        source=data.source,
        classes=CLASSES,
        recordings=recordings,
        group_noun="splits",
        split_of=lambda recording: recording.group,
    )
