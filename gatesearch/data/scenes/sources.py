"""The clips from which scenes (labelled streams) are made, and the sources that hold the clips."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gatesearch.data.scenes.spec import DIGEST_CHARACTERS, SpecClip, SplitName
from gatesearch.data.scenes.types import Samples
from gatesearch.errors import UserError, nearest

CACHE_BYTES = 256 * 2**20  # size of the cache of clips; an hour of background at 16 kHz has 115 MB
KINDS = ("quiet", "environment", "speech", "near_word", "music", "noise")
"""Kinds of background in scenes of sound. Near words are single words that sound like an event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A stretch of one class in a clip that is labelled sample by sample."""

    label: str
    start: int
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One recording, or one utterance, that a scene may use.

    Args:
        source: the name of the clip's source.
        name: the name of the clip within its source.
        recording: id of the recording from which the clip was cut; no two splits share a recording.
        speaker: id of the person who speaks or moves; no two splits share a speaker. None if the source does not name
            speakers.
        label: class of the event in the clip; None for background.
        kind: kind of background; None for an event.
        read: returns the samples at the rate of the scene.
        runs: the stretches of each class in a clip that is labelled sample by sample; empty for other clips.
    """

    source: str
    name: str
    recording: str
    speaker: str | None
    label: str | None = None
    kind: str | None = None
    read: Callable[[], Samples] = field(repr=False, compare=False)
    runs: tuple[Run, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Clips of one split from one place.

    Args:
        name: the name of the source.
        settings: settings that load the source again, in types that JSON can hold.
        clips: the clips of the split.
        synthetic: whether a machine made the clips.
        remarks: doubts about the source, one line each.
        sample_rate: the sample rate of the clips; None if the source can read them at any rate.
    """

    name: str
    settings: Mapping[str, Any]
    clips: tuple[Clip, ...] = field(repr=False)
    synthetic: bool = False
    remarks: tuple[str, ...] = ()
    sample_rate: float | None = None


SPOKEN = ("speech", "near_word")  # kinds of background that hold speech


class Sources:
    """All clips from which scenes of one split are made.

    Args:
        split: the split of the clips.
        sample_rate: the sample rate at which the clips are read.
        sources: the sources; no two have the same name.
    """

    def __init__(self, split: SplitName, sample_rate: float, sources: Sequence[Source]) -> None:
        self.split, self.sample_rate, self.sources = split, sample_rate, tuple(sources)
        self._by_name = {(clip.source, clip.name): clip for source in sources for clip in source.clips}
        self._cache: OrderedDict[tuple[str, str], Samples] = OrderedDict()
        self._cached_bytes = 0
        self._checked: set[tuple[str, str, str]] = set()

    @property
    def clips(self) -> list[Clip]:
        """The clips of all sources, in their order."""
        return [clip for source in self.sources for clip in source.clips]

    @property
    def synthetic(self) -> bool:
        """Whether a machine made any of the events or of the speech; generated noise may lie behind recordings."""
        return any(
            source.synthetic and any(clip.label is not None or clip.kind in SPOKEN for clip in source.clips)
            for source in self.sources
        )

    def describe(self) -> str:
        """Return the names of the sources; those that a machine made are marked."""
        return ", ".join(f"{each.name} (generated)" if each.synthetic else each.name for each in self.sources)

    def read(self, clip: Clip) -> Samples:
        """Return the samples of a clip; a cache holds the clips that were read last."""
        key = (clip.source, clip.name)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        samples = self._cache[key] = clip.read()
        self._cached_bytes += samples.nbytes
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            _, oldest = self._cache.popitem(last=False)
            self._cached_bytes -= oldest.nbytes
        return samples

    def find(self, entry: SpecClip) -> Samples:
        """Return the samples of a clip that a specification names.

        Raises:
            UserError: the source or the clip does not exist, or the clip has changed since the specification was drawn.
        """
        where = f"source {entry.source!r}"
        clip = self._by_name.get((entry.source, entry.name))
        if clip is None:
            names = [source.name for source in self.sources]
            if entry.source not in names:
                raise UserError(f"{where} is missing; there are: {', '.join(names) or 'none'}")
            close = nearest(entry.name, [name for source, name in self._by_name if source == entry.source])
            hint = f"; nearest: {close!r}" if close else ""
            raise UserError(f"{where}: no clip {entry.name!r} in its {self.split} split{hint}")
        samples = self.read(clip)
        key = (entry.source, entry.name, entry.digest)
        if key not in self._checked:
            if len(samples) != entry.samples or digest_samples(samples) != entry.digest:
                raise UserError(f"{where}: {entry.name!r} has changed: it is not what the scene was drawn from")
            self._checked.add(key)
        return samples


def name_place(root: str) -> str:
    """Return the name of a source's folder or file; the ids of its recordings and speakers start with this name.

    The name of the source would not suffice: two settings may give one folder two names, or two folders one name.

    >>> name_place("data/speech_commands/")
    'speech_commands'
    """
    return Path(root).expanduser().resolve().name


def digest_samples(samples: Samples) -> str:
    """Return the first digits of the SHA-256 of a clip's sample type, its shape and its samples as little-endian bytes.

    >>> digest_samples(np.zeros(3, np.int16)) == digest_samples(np.zeros(3, np.int16)) != digest_samples(np.zeros(3))
    True
    """
    array = np.ascontiguousarray(samples, samples.dtype.newbyteorder("<"))
    head = f"{array.dtype.str} {array.shape}\n".encode()
    return hashlib.sha256(head + array.tobytes()).hexdigest()[:DIGEST_CHARACTERS]


class ClipSequence(Sequence[Samples]):
    """The clips of a specification by their index; a clip is read when it is needed.

    Args:
        entries: the clips that the specification lists.
        sources: the sources that hold the clips.
    """

    def __init__(self, entries: Sequence[SpecClip], sources: Sources) -> None:
        self._entries, self._sources = entries, sources

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: Any) -> Any:
        return self._sources.find(self._entries[index])
