"""Finds the recordings from which windows are cut: a folder of WAV files, an archive, or synthetic speech."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatesearch._lib import console
from gatesearch.data import folders, wav, wav_blocks
from gatesearch.data.archives import Arrays, check_whole, read_archive
from gatesearch.data.split_lists import SPLIT_LISTS
from gatesearch.data.types import SPLITS, Split
from gatesearch.data.wav import Progress
from gatesearch.data.wav_files import describe_names, walk_wavs
from gatesearch.data.waveforms import Int16Waveform
from gatesearch.errors import UserError

WORDS = ("yes", "seven", "forward", "happy")  # the words that the synthesiser says
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
        name: the name of the set.
        source: the origin of the set and how it is split, for the report.
        classes: names of the labels.
        recordings: all recordings.
        group_noun: plural noun for the groups in errors, such as ``speakers``.
        split_of: function that returns the split of a recording; None if the set has no splits. Groups are then drawn
            at random.
    """

    name: str
    source: str
    classes: Sequence[str]
    recordings: Sequence[Recording]
    group_noun: str
    split_of: Callable[[Recording], str] | None = None


def from_folder(root: Path) -> Recordings:
    """Find WAV files at any depth; all files in one folder of the top level have the same label.

    Lists of Speech Commands (``validation_list.txt``, ``testing_list.txt``) give the splits. Without lists, a group has
    all files of a speaker, if the file names contain the speaker (``<speaker>_nohash_<n>.wav``). Any other file is a
    group of its own.

    Raises:
        UserError: there is no WAV file, or one cannot be read.
    """
    paths: dict[str, Path] = {}
    hidden: list[str] = []
    for folder, files in walk_wavs(root, "data.root"):
        prefix = f"{folder}/" if folder else ""
        paths |= {f"{prefix}{name}": path for name, path in files.paths.items()}
        hidden += [f"{prefix}{name}" for name in files.hidden]
    if hidden:
        console.warn(f"data.root: {root}: {describe_names('hidden files are left out', hidden)}")
    if not paths:
        raise UserError(f"data.root: {str(root)!r} holds no WAV file")
    names = sorted(paths, key=Path)
    tops = [name.partition("/")[0] if "/" in name else root.name for name in names]
    classes = sorted(set(tops))
    recordings = []
    for name, top in zip(names, tops, strict=True):
        rate = wav_blocks.sample_rate(paths[name])
        recordings.append(
            Recording(
                name=name,
                label=classes.index(top),
                group=folders.speaker_of(top, Path(name).name),
                sample_rate=rate,
                read=partial(wav.read, paths[name], rate),
            )
        )
    listed = folders.scan(root).listed if any((root / name).is_file() for name in SPLIT_LISTS) else None
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
    """Return the clips of an ``.npz`` file as recordings.

    The archive holds these arrays. ``audio`` is int16 [clips, samples], or [samples] with ``offsets`` [clips + 1].
    ``sample_rate`` is in Hz. ``label`` [clips] holds indices into ``classes``. Clips of one ``fold`` or ``speaker``
    [clips] stay in one split.

    Raises:
        UserError: the file cannot be read, or an array is missing or wrong.
    """
    where = f"data.root: {path}"
    if not path.exists():
        raise UserError(f"{where}: no such folder or file")
    arrays = read_archive(path, where, "is neither a folder of WAV files nor an .npz")
    group = next((name for name in ("fold", "speaker") if name in arrays), None)
    for name in ("audio", "sample_rate", "label"):
        if name not in arrays:
            raise UserError(f"{where}: holds no {name!r}; it holds: {', '.join(arrays)}")
    if group is None:
        raise UserError(f"{where}: neither 'fold' nor 'speaker' tells which clips belong together")
    labels, count = arrays["label"], arrays["label"].size
    check_whole(labels, "label", where, count=count, most=arrays["classes"].size - 1 if "classes" in arrays else None)
    if not count:
        raise UserError(f"{where}: holds no clips")
    if arrays[group].shape != (count,):
        raise UserError(f"{where}: {group} is {list(arrays[group].shape)}; wanted: [{count}], one a clip")
    rate = arrays["sample_rate"]
    if rate.size != 1 or rate.dtype.kind not in "iuf" or not rate.item() >= 1 or rate.item() % 1:
        raise UserError(f"{where}: sample_rate is {rate.tolist()!r}; wanted: samples per second")
    starts, ends = _clip_bounds(arrays, count, where)
    flat = arrays["audio"].reshape(-1)
    classes = arrays["classes"].tolist() if "classes" in arrays else [str(i) for i in range(int(labels.max()) + 1)]
    recordings = [
        Recording(
            name=f"{classes[int(label)]}/{i}",
            label=int(label),
            group=f"{group} {member}",
            sample_rate=int(rate.item()),
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


def _clip_bounds(arrays: Arrays, count: int, where: str) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]:
    """Return the first sample of each clip in the flat audio, and the sample after its last one."""
    audio = arrays["audio"]
    if audio.dtype != np.int16:
        raise UserError(f"{where}: audio is {audio.dtype}; wanted: int16, full scale 32768")
    if "offsets" not in arrays:
        if audio.ndim != 2 or len(audio) != count:
            raise UserError(f"{where}: audio is {list(audio.shape)}; wanted: [{count}, samples], or 'offsets'")
        starts = np.arange(count) * audio.shape[1]
        return starts, starts + audio.shape[1]
    offsets = arrays["offsets"]
    check_whole(offsets, "offsets", where, count=count + 1, most=audio.size)
    if (np.diff(offsets.astype(np.int64)) < 1).any():
        raise UserError(f"{where}: offsets do not rise; wanted: the first sample of each clip, and the end")
    return offsets[:-1], offsets[1:]


def synthesise(
    sample_rate: int,
    seconds: float,
    windows: int,
    seed: int,
    cache_dir: str | Path | None,
    progress: Progress | None,
) -> Recordings:
    """Synthesise enough words and noise for a number of windows; see :mod:`gatesearch.data.synthetic`."""
    from gatesearch.data import synthetic

    # A clip holds two windows, 70 % of the clips are for training, and the classes are the words and two kinds of
    # noise. The factor 1.2 makes 20 % more clips than needed, because some clips are too quiet.
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
