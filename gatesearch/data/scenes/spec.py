"""The specification of a scene (a labelled stream): JSON without sound, from which the scene is made bit for bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from gatesearch._lib.files import read_bytes, write_whole
from gatesearch.data.scenes.types import Outline
from gatesearch.errors import UserError
from gatesearch.metrics.streams.events import Background, Event

VERSION = 1
DIGEST_CHARACTERS = 16
MAX_HOURS = 24.0
SPLIT_NAMES = ("train", "validation", "test")

Index = Annotated[int, Field(ge=0)]
Length = Annotated[int, Field(ge=1, le=2**40)]
SplitName = Literal["train", "validation", "test"]
SignalName = Literal["sound", "motion", "frames"]


class Entry(BaseModel):
    """A frozen group of keys of a file, which refuses unknown keys and converts no types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class SpecSource(Entry):
    """A source of clips: how it is loaded again, and a digest of the clips that the scene uses."""

    name: str = Field(min_length=1, description="Name of the source, which its clips refer to.")
    settings: dict[str, Any] = Field(description="Settings that load the source again: kind, root, classes.")
    digest: str = Field(description="Digest of the digests of all clips of the source that the scene uses.")


class SpecClip(Entry):
    """A clip that the scene uses."""

    source: str = Field(description="Name of the clip's source.")
    name: str = Field(description="Name of the clip within its source, such as yes/0ab3b47d_nohash_0.wav.")
    recording: str = Field(description="Id of the recording that the clip was cut from.")
    speaker: str | None = Field(
        description="Id of the person who speaks or moves; null if the source does not name it."
    )
    samples: Length = Field(description="Length of the clip in samples, at the rate of the scene.")
    digest: str = Field(description="First 16 hexadecimal digits of the sha256 of the clip's samples.")


class SpecPiece(Entry):
    """A stretch of a clip that is added to the scene as background."""

    clip: Index = Field(description="Index of the clip in clips.")
    clip_start: Index = Field(description="First sample of the stretch within the clip.")
    start: Index = Field(description="First sample of the stretch within the scene.")
    samples: Length = Field(description="Length of the stretch in samples.")
    gain: float = Field(default=1.0, ge=0, description="Factor on the samples.")


class SpecSegment(Entry):
    """A stretch of one kind of background."""

    kind: str = Field(min_length=1, description="Kind of the background, such as quiet, speech or music.")
    start: Index = Field(description="First sample of the segment.")
    samples: Length = Field(description="Length of the segment in samples.")


class SpecEvent(Entry):
    """A positive, and the clip that it comes from."""

    label: str = Field(min_length=1, description="Class of the event.")
    start: Index = Field(description="First sample of the event within the scene.")
    samples: Length = Field(description="Length of the event in samples.")
    clip: Index | None = Field(
        default=None, description="Index of the clip in clips; null where the event lies in a background piece."
    )
    clip_start: Index = Field(default=0, description="First sample of the event within its clip.")
    gain: float = Field(default=1.0, ge=0, description="Factor on the samples of the clip.")
    snr_db: float | None = Field(
        default=None, description="Power of the event over that of the background under it, in decibels (dB)."
    )
    background: str | None = Field(default=None, description="Kind of the background that the event lies in.")


class SceneSpec(Entry):
    """A scene: every event and every piece of background with its clip, time and gain.

    ``samples`` and all times are counted in samples, so that they are exact.
    """

    version: Literal[1] = Field(default=1, description="Version of the format.")
    name: str = Field(min_length=1, description="Name of the scene, for tables and errors.")
    split: SplitName = Field(description="Split whose clips the scene uses.")
    signal: SignalName = Field(description="Kind of signal: sound, motion or image frames.")
    sample_rate: float = Field(gt=0, description="Samples a second (Hz); frames a second for images.")
    samples: Length = Field(description="Length of the scene in samples.")
    seed: Index = Field(description="Seed with which the scene was drawn.")
    classes: tuple[str, ...] = Field(strict=False, min_length=1, description="Classes that events may have.")
    sources: tuple[SpecSource, ...] = Field(strict=False, description="Sources of the clips.")
    clips: tuple[SpecClip, ...] = Field(strict=False, description="Clips that the scene uses.")
    pieces: tuple[SpecPiece, ...] = Field(strict=False, description="Background, in the order in which it is added.")
    segments: tuple[SpecSegment, ...] = Field(strict=False, description="Kinds of background over time.")
    events: tuple[SpecEvent, ...] = Field(strict=False, description="Events by their start.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Check that clips, sources, pieces and events refer to each other, and that the scene is not too long."""
        if self.samples > MAX_HOURS * 3600 * self.sample_rate:
            hours = self.samples / self.sample_rate / 3600
            raise _invalid("samples", f"{hours:.3g} hours; a scene has up to {MAX_HOURS:g}")
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names):
            raise _invalid("sources", "two sources have one name")
        for index, clip in enumerate(self.clips):
            if clip.source not in names:
                raise _invalid(
                    f"clips.{index}", f"its source {clip.source!r} is not among {', '.join(names) or 'none'}"
                )
        for source in self.sources:
            if source.digest != join_digests([clip.digest for clip in self.clips if clip.source == source.name]):
                raise _invalid(f"sources.{source.name}", "its digest is not that of its clips")
        for index, piece in enumerate(self.pieces):
            self._check_stretch(f"pieces.{index}", piece.clip, piece.clip_start, piece.samples)
        for index, event in enumerate(self.events):
            if event.clip is not None:
                self._check_stretch(f"events.{index}", event.clip, event.clip_start, event.samples)
        return self

    def _check_stretch(self, where: str, clip: int, clip_start: int, samples: int) -> None:
        if clip >= len(self.clips):
            raise _invalid(where, f"clip {clip} is none of the {len(self.clips)} clips")
        if clip_start + samples > self.clips[clip].samples:
            end = clip_start + samples
            raise _invalid(where, f"ends at sample {end} of its clip, which has {self.clips[clip].samples}")


def outline_spec(spec: SceneSpec) -> Outline:
    """Return the outline of a specification's scene, with times in seconds."""
    rate = spec.sample_rate
    events = [
        Event(
            label=event.label,
            start_s=event.start / rate,
            end_s=(event.start + event.samples) / rate,
            snr_db=event.snr_db,
            background=event.background,
        )
        for event in spec.events
    ]
    segments = [
        Background(segment.kind, segment.start / rate, (segment.start + segment.samples) / rate)
        for segment in spec.segments
    ]
    # A clip of silence has a gain of 0. It is left out, because it may be the same in two splits.
    sounding = {piece.clip for piece in spec.pieces if piece.gain} | {event.clip for event in spec.events if event.gain}
    clips = [clip for index, clip in enumerate(spec.clips) if index in sounding]
    return Outline(
        name=spec.name,
        rate=rate,
        length=spec.samples,
        classes=spec.classes,
        events=tuple(events),
        segments=tuple(segments),
        split=spec.split,
        recordings=frozenset(clip.recording for clip in spec.clips),
        speakers=frozenset(clip.speaker for clip in spec.clips if clip.speaker is not None),
        digests={clip.digest: f"{clip.source}/{clip.name}" for clip in clips},
    )


def join_digests(digests: Sequence[str]) -> str:
    """Return the digest of a source from the digests of its clips, in their order."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:DIGEST_CHARACTERS]


def render_spec(spec: SceneSpec) -> str:
    """Return a specification as JSON with one entry a line, so that a reader can compare two specifications."""
    fields = []
    for key, value in spec.model_dump(mode="json").items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            entries = ",\n  ".join(json.dumps(entry, ensure_ascii=False) for entry in value)
            fields.append(f" {json.dumps(key)}: [\n  {entries}\n ]")
        else:
            fields.append(f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n" + ",\n".join(fields) + "\n}\n"


def write_spec(path: Path, spec: SceneSpec) -> Path:
    """Write a specification whole or not at all; return its path."""
    return write_whole(path, render_spec(spec))


def read_spec(path: Path) -> SceneSpec:
    """Read a specification.

    Raises:
        UserError: the file does not exist, is no JSON or has another version, or a key is unknown, is missing or has a
            wrong value.
    """
    content = read_bytes(path)
    if content is None:
        raise UserError(f"{path}: no such file")
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: no JSON ({error})") from None
    return check_spec(tree, str(path))


def check_spec(tree: Any, where: str) -> SceneSpec:
    """Return a specification from dictionaries and lists.

    Raises:
        UserError: a key is unknown, is missing or has a wrong value; the error names the first such key.
    """
    if not isinstance(tree, dict) or "version" not in tree:
        raise UserError(f"{where}: no specification of a scene: it has no key 'version'")
    if tree["version"] != VERSION:
        raise UserError(f"{where}: version is {tree['version']!r}; this gatesearch reads version {VERSION}")
    try:
        return SceneSpec.model_validate(tree)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
    key = ".".join(map(str, detail["loc"]))
    raise UserError(": ".join(part for part in (where, key, detail["msg"]) if part))


def _invalid(where: str, message: str) -> PydanticCustomError:
    return PydanticCustomError("wrong_scene", "{where}: {message}", {"where": where, "message": message})
