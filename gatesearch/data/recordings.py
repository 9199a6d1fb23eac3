"""Recordings from a folder of WAV files, from an archive, or synthesised: what windows are cut from."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gatesearch.data import folders, wav
from gatesearch.data.wav import Progress, Waves
from gatesearch.errors import UserError

WORDS = ("yes", "seven", "forward", "happy")  # said by the synthesiser
CLASSES = ("speech", "noise")


@dataclass(frozen=True)
class Recording:
    """One recording; ``group`` is what must not be in two splits."""

    name: str
    label: int
    group: str
    sample_rate: int
    read: Callable[[], Waves]


@dataclass(frozen=True)
class Recordings:
    """A set of recordings.

    Args:
        name: of the set.
        source: where it came from and how it is split, for the report.
        classes: names of the labels.
        recordings: all of them.
        grouped: what a group is.
        given: the split of a recording where the set itself says; None where whole groups are to be drawn.
    """

    name: str
    source: str
    classes: Sequence[str]
    recordings: Sequence[Recording]
    grouped: str
    given: Callable[[Recording], str] | None = None


def from_folder(root: Path) -> Recordings:
    """Read WAV files at any depth; files in one folder of the top level have one label.

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
        Recording(str(name), classes.index(top), folders.speaker(top, path.name), *_lazily(path))
        for path, name, top in zip(paths, relative, tops, strict=True)
    ]
    listed = folders.scan(root).listed if any((root / name).is_file() for name in folders.LISTS) else None
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
    """Read an ``.npz`` of clips.

    ``audio`` is int16 [clips, samples], or [samples] with ``offsets`` [clips + 1]. ``label`` [clips] and ``classes``
    name what is heard. ``fold`` or ``speaker`` [clips] is what must not be in two splits.

    Raises:
        UserError: it cannot be read, or something of that is missing.
    """
    where = f"data.root: {path}"
    try:
        with np.load(path, allow_pickle=False) as archive:
            found: dict[str, npt.NDArray[Any]] = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise UserError(f"{where}: no such folder or file") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{where}: neither a folder of WAV files nor an .npz ({error})") from None
    group = next((name for name in ("fold", "speaker") if name in found), None)
    for name in ("audio", "sample_rate", "label"):
        if name not in found:
            raise UserError(f"{where}: holds no {name!r}; it holds: {', '.join(found)}")
    if group is None:
        raise UserError(f"{where}: neither 'fold' nor 'speaker' tells which clips belong together")
    audio, labels = found["audio"], found["label"]
    starts = found["offsets"][:-1] if "offsets" in found else np.arange(len(labels)) * audio.shape[1]
    ends = found["offsets"][1:] if "offsets" in found else starts + audio.shape[1]
    flat = audio.reshape(-1)
    classes = found["classes"].tolist() if "classes" in found else [str(i) for i in range(int(labels.max()) + 1)]
    recordings = [
        Recording(
            f"{classes[int(label)]}/{i}",
            int(label),
            f"{group} {who}",
            int(found["sample_rate"]),
            lambda a=int(a), b=int(b): flat[a:b],  # type: ignore[misc]
        )
        for i, (label, who, a, b) in enumerate(zip(labels, found[group], starts, ends, strict=True))
    ]
    return Recordings(
        path.stem,
        f"{len(recordings)} clips of {path.name}, no {group} in two splits",
        [str(name) for name in classes],
        recordings,
        f"{group}s",
    )


def synthesised(
    sample_rate: int,
    seconds: float,
    windows: int,
    seed: int,
    cache_dir: str | Path | None,
    progress: Progress | None,
) -> Recordings:
    """Say words and make noise, enough for so many windows; see :mod:`gatesearch.data.synthetic`."""
    from gatesearch.data import synthetic

    # Clips of two windows, 70 % of them to train on, in two classes more than there are words; some are too quiet.
    clips = max(synthetic.FEWEST, round(1.2 * windows / 2 / 0.7 / (len(WORDS) + len(folders.NOISE))))
    data = synthetic.load(
        WORDS,
        {name: [name] for name in folders.NOISE},
        seed,
        clips,
        sample_rate,
        2 * seconds,
        cache_dir,
        progress,
    )
    noise = len(WORDS)
    recordings = [
        Recording(name, int(label >= noise), split, sample_rate, lambda wave=wave: wave.numpy())  # type: ignore[misc]
        for split in folders.SPLITS
        for name, label, wave in zip(
            getattr(data, split).names, getattr(data, split).labels, getattr(data, split).inputs, strict=True
        )
    ]
    return Recordings("synthetic sound", data.source, CLASSES, recordings, "splits", lambda recording: recording.group)


def _lazily(path: Path) -> tuple[int, Callable[[], Waves]]:
    """Return a file's sample rate, and what reads it."""
    rate = wav.sample_rate(path)
    return rate, lambda: wav.read(path, rate)
