"""Draws scenes (labelled streams) of images; runs of frames of positive classes are the events."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from gatesearch import errors
from gatesearch.data.registry import load_dataset
from gatesearch.data.scenes.clip_table import ClipTable
from gatesearch.data.scenes.draw import draw_segments
from gatesearch.data.scenes.events import count_events, place_events
from gatesearch.data.scenes.settings import Frames, SceneSettings
from gatesearch.data.scenes.sources import Clip, Source, Sources
from gatesearch.data.scenes.spec import SPLIT_NAMES, SceneSpec, SpecEvent, SpecPiece, SplitName
from gatesearch.data.types import Split
from gatesearch.errors import UserError

RATE_HZ = 1.0
MAX_FRAMES = 200_000


def load_frames(settings: Frames, split: SplitName, sample_rate: float | None) -> Source:
    """Return the images of a split, each a clip of one frame.

    Raises:
        UserError: the data set cannot be loaded, lacks a class of the events, or has no other class.
    """
    data = load_dataset(settings.data, **settings.arguments)
    for name in settings.events:
        if name not in data.classes:
            raise errors.unknown(f"sources.{settings.name}", "class", name, data.classes)
    if len(settings.events) == len(data.classes):
        raise UserError(f"sources.{settings.name}: events takes every class; leave one or more as background")
    part: Split = getattr(data, split)
    images = part.inputs.numpy()
    clips = []
    for index, (label, name) in enumerate(zip(part.labels.tolist(), part.names, strict=True)):
        class_name = data.classes[label]
        is_event = class_name in settings.events
        clips.append(
            Clip(
                source=settings.name,
                name=f"{index}/{name}",
                recording=f"{settings.data}:{split}:{index}/{name}",
                speaker=None,
                label=class_name if is_event else None,
                kind=None if is_event else class_name,
                read=partial(images.__getitem__, slice(index, index + 1)),
            )
        )
    return Source(
        name=settings.name,
        settings=settings.model_dump(mode="json"),
        clips=tuple(clips),
        synthetic=data.synthetic,
        sample_rate=sample_rate or RATE_HZ,
    )


def draw_frames(settings: SceneSettings, sources: Sources) -> SceneSpec:
    """Draw a scene: segments of one negative class each, in which runs of frames of positive classes are the events.

    Raises:
        UserError: there are too many frames, there is too little room for the events, or the split lacks a class.
    """
    source = settings.sources[0]
    assert isinstance(source, Frames)
    rate = sources.sample_rate
    frames = round(settings.hours * 3600 * rate)
    if not 1 <= frames <= MAX_FRAMES:
        raise UserError(
            f"hours: {settings.hours:g} hours of {rate:g} frames a second are {frames:,}; up to {MAX_FRAMES:,}"
        )
    rng = np.random.default_rng([settings.seed, SPLIT_NAMES.index(settings.split)])
    by_class: dict[str, list[Clip]] = {}
    for clip in sources.clips:
        by_class.setdefault(clip.label or str(clip.kind), []).append(clip)
    for name in source.events:
        if name not in by_class:
            raise UserError(f"sources.{source.name}: the {settings.split} split has no image of class {name!r}")
    kinds = sorted({clip.kind for clip in sources.clips if clip.kind is not None})
    shares = dict.fromkeys(kinds, 1 / len(kinds))
    segments = draw_segments(rng, shares, frames, settings.segment_s, rate)
    lengths = rng.integers(source.run_frames[0], source.run_frames[1] + 1, count_events(settings)).tolist()
    places = sorted(zip(place_events(rng, settings, segments, lengths, rate), lengths, strict=True))
    names = [source.events[number % len(source.events)] for number in range(len(places))]
    class_of = [segment.kind for segment in segments for _ in range(segment.samples)]
    events = []
    for ((start, kind), length), number in zip(places, rng.permutation(len(places)), strict=True):
        events.append(SpecEvent(label=names[number], start=start, samples=length, background=kind))
        class_of[start : start + length] = [names[number]] * length
    table = ClipTable(sources)
    pieces = [
        SpecPiece(clip=table.add(_draw_clip(rng, by_class[name])), clip_start=0, start=position, samples=1)
        for position, name in enumerate(class_of)
    ]
    return table.build_spec(settings, "frames", frames, source.events, pieces=pieces, segments=segments, events=events)


def _draw_clip(rng: np.random.Generator, clips: Sequence[Clip]) -> Clip:
    return clips[int(rng.integers(len(clips)))]
