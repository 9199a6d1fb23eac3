"""The clips that a scene uses, gathered while it is drawn."""

from __future__ import annotations

from dataclasses import dataclass, field

from gatesearch.data.scenes.sources import Clip, Sources, digest_samples
from gatesearch.data.scenes.spec import SpecClip, SpecSource, join_digests


@dataclass
class ClipTable:
    """The clips that a scene uses, each once, in the order of their first use."""

    sources: Sources
    entries: list[SpecClip] = field(default_factory=list)
    _index: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, clip: Clip) -> int:
        """Return the index of a clip, and note it down with its digest where it is new."""
        key = (clip.source, clip.name)
        if key not in self._index:
            samples = self.sources.read(clip)
            self._index[key] = len(self.entries)
            entry = SpecClip(
                source=clip.source,
                name=clip.name,
                recording=clip.recording,
                speaker=clip.speaker,
                samples=len(samples),
                digest=digest_samples(samples),
            )
            self.entries.append(entry)
        return self._index[key]

    def list_sources(self) -> tuple[SpecSource, ...]:
        """Return the sources of the clips, with the digest of those that are used."""
        digests: dict[str, list[str]] = {}
        for entry in self.entries:
            digests.setdefault(entry.source, []).append(entry.digest)
        return tuple(
            SpecSource(name=source.name, settings=dict(source.settings), digest=join_digests(digests[source.name]))
            for source in self.sources.sources
            if source.name in digests
        )
