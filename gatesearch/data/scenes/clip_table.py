"""Collects the clips that a scene uses while the scene is drawn, and builds its specification.

A scene is a labelled stream. Its specification is a JSON file from which the scene is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gatesearch.data.scenes.settings import SceneSettings
from gatesearch.data.scenes.sources import Clip, Sources, digest_samples
from gatesearch.data.scenes.spec import (
    SceneSpec,
    SignalName,
    SpecClip,
    SpecEvent,
    SpecPiece,
    SpecSegment,
    SpecSource,
    join_digests,
)


@dataclass
class ClipTable:
    """The clips that a scene uses, each once, in the order of their first use."""

    sources: Sources
    entries: list[SpecClip] = field(default_factory=list)
    _index: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, clip: Clip) -> int:
        """Return the index of a clip; a new clip is added with its digest."""
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
        """Return the sources of the clips, each with a digest of the clips that the scene uses from it."""
        digests: dict[str, list[str]] = {}
        for entry in self.entries:
            digests.setdefault(entry.source, []).append(entry.digest)
        return tuple(
            SpecSource(name=source.name, settings=dict(source.settings), digest=join_digests(digests[source.name]))
            for source in self.sources.sources
            if source.name in digests
        )

    def build_spec(
        self,
        settings: SceneSettings,
        signal: SignalName,
        samples: int,
        classes: tuple[str, ...],
        *,
        pieces: Sequence[SpecPiece],
        segments: Sequence[SpecSegment],
        events: Sequence[SpecEvent],
    ) -> SceneSpec:
        """Return the specification of a scene that is drawn from these clips.

        Args:
            settings: the settings with which the scene was drawn.
            signal: the signal of the stream.
            samples: length of the scene in samples.
            classes: classes that events may have.
            pieces: stretches of clips that are mixed into the scene as background.
            segments: stretches of the scene with one kind of background.
            events: events of the scene.
        """
        return SceneSpec(
            name=settings.name or settings.split,
            split=settings.split,
            signal=signal,
            sample_rate=self.sources.sample_rate,
            samples=samples,
            seed=settings.seed,
            classes=classes,
            sources=self.list_sources(),
            clips=tuple(self.entries),
            pieces=tuple(pieces),
            segments=tuple(segments),
            events=tuple(events),
        )
