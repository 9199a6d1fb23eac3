"""Places events in a scene of sound: draws their times, and their levels over the background.

A scene is a labelled stream. A segment is a stretch of time with one kind of background.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Sequence

import numpy as np

from gatesearch.data.scenes.levels import SMALLEST_POWER, find_active, peak, power, to_decibels
from gatesearch.data.scenes.mix import FADE_S, Mix, fade_ends, mix_stretch
from gatesearch.data.scenes.settings import SceneSettings
from gatesearch.data.scenes.sources import Clip, ClipSequence, Sources
from gatesearch.data.scenes.spec import SpecClip, SpecEvent, SpecPiece, SpecSegment
from gatesearch.data.waveforms import INT16_FULL_SCALE
from gatesearch.errors import UserError

SPEECH_KINDS = ("speech", "near_word")
TRIALS_PER_EVENT = 200  # number of random places that are tried for an event before the scene counts as full
PEAK_ROOM = 0.98 * INT16_FULL_SCALE  # largest peak of background and event together

Backgrounds = tuple[list[SpecPiece], list[SpecClip]]


def count_events(settings: SceneSettings) -> int:
    """Return the number of events in a scene."""
    return settings.events or max(1, round(settings.events_per_hour * settings.hours))


def draw_events(
    rng: np.random.Generator,
    settings: SceneSettings,
    add_clip: Callable[[Clip], int],
    sources: Sources,
    classes: Sequence[str],
    segments: Sequence[SpecSegment],
    backgrounds: Backgrounds,
) -> list[SpecEvent]:
    """Return events in the order of their starts. They do not overlap, and each lies in one segment.

    All classes have about the same number of events.

    Args:
        rng: the generator of every random choice.
        settings: the settings of the scene.
        add_clip: function that adds a clip to the table of the scene's clips, and returns the clip's index.
        sources: the sources of the clips.
        classes: the classes of the events.
        segments: the segments of the background.
        backgrounds: the pieces of background, and the clips that they name.

    Raises:
        UserError: there is no clip of an event, or too little room.
    """
    count = count_events(settings)
    if not classes:
        raise UserError(f"sources: none has a clip of an event in the {settings.split} split")
    clips = _choose_clips(rng, sources, classes, count)
    bounds = [find_active(sources.read(clip), sources.sample_rate) for clip in clips]
    starts = place_events(rng, settings, segments, [end - first for first, end in bounds], sources.sample_rate)
    events = []
    for clip, (first, end), (start, kind) in zip(clips, bounds, starts, strict=True):
        wave = sources.read(clip)[first:end].astype(np.float32)
        fade_ends(wave, 0, len(wave), round(FADE_S * sources.sample_rate))
        gain, snr_db = _draw_gain(rng, settings, wave, _mix_background(backgrounds, sources, start, end - first))
        event = SpecEvent(
            label=str(clip.label),
            start=start,
            samples=end - first,
            clip=add_clip(clip),
            clip_start=first,
            gain=gain,
            snr_db=snr_db,
            background=kind,
        )
        events.append(event)
    return sorted(events, key=lambda event: event.start)


def place_events(
    rng: np.random.Generator,
    settings: SceneSettings,
    segments: Sequence[SpecSegment],
    lengths: Sequence[int],
    rate: float,
) -> list[tuple[int, str]]:
    """Return the first sample of each event and the kind of its background.

    All places in the scene are equally likely. A place is drawn again if the event would be within ``gap_s`` of another
    event or would cross the border of a segment.

    Raises:
        UserError: no place is left for an event.
    """
    gap = round(settings.gap_s * rate)
    speech = [segment for segment in segments if segment.kind in SPEECH_KINDS]
    other = [segment for segment in segments if segment.kind not in SPEECH_KINDS]
    in_speech = None
    if settings.speech_overlap is not None:
        in_speech = np.arange(len(lengths)) < round(settings.speech_overlap * len(lengths))
        rng.shuffle(in_speech)
    places: list[tuple[int, str]] = []
    occupied: list[tuple[int, int]] = []
    for index, length in enumerate(lengths):
        pool = segments if in_speech is None else (speech if in_speech[index] else other)
        place = _find_place(rng, pool, length, gap, occupied)
        if place is None:
            raise UserError(
                f"events: {len(lengths)} events with gaps of {settings.gap_s:g} s find no room in "
                f"{settings.hours:g} hours; {len(places)} have a place"
            )
        start, kind = place
        occupied.insert(bisect(occupied, (start, start + length)), (start, start + length))
        places.append((start, kind))
    return places


def _find_place(
    rng: np.random.Generator,
    segments: Sequence[SpecSegment],
    length: int,
    gap: int,
    occupied: Sequence[tuple[int, int]],
) -> tuple[int, str] | None:
    """Return a free place for an event, as its first sample and the kind of its background; None if no draw is free.

    All first samples at which the event fits into a segment are equally likely. ``occupied`` holds start and end of
    each earlier event, in order.
    """
    roomy = [segment for segment in segments if segment.samples >= length]
    if not roomy:
        return None
    # ends[k] counts the possible first samples in segments 0 to k, so that one number selects a segment and a sample.
    ends = np.cumsum([segment.samples - length + 1 for segment in roomy])
    for draw in rng.integers(int(ends[-1]), size=TRIALS_PER_EVENT):
        number = int(np.searchsorted(ends, draw, side="right"))
        segment = roomy[number]
        start = segment.start + int(draw) - (int(ends[number - 1]) if number else 0)
        after = bisect(occupied, (start,))
        free_before = after == 0 or occupied[after - 1][1] + gap <= start
        free_behind = after == len(occupied) or start + length + gap <= occupied[after][0]
        if free_before and free_behind:
            return start, segment.kind
    return None


def _choose_clips(rng: np.random.Generator, sources: Sources, classes: Sequence[str], count: int) -> list[Clip]:
    """Return clips in random order, equally many of each class; a clip repeats only after all others of its class."""
    by_class = {label: [clip for clip in sources.clips if clip.label == label] for label in classes}
    orders: dict[str, list[int]] = {label: [] for label in classes}
    chosen = []
    for number in range(count):
        label = classes[number % len(classes)]
        if not orders[label]:
            orders[label] = rng.permutation(len(by_class[label])).tolist()
        chosen.append(by_class[label][orders[label].pop()])
    return [chosen[index] for index in rng.permutation(count)]


def _mix_background(backgrounds: Backgrounds, sources: Sources, start: int, length: int) -> Mix:
    pieces, entries = backgrounds
    own = [piece for piece in pieces if piece.start < start + length and piece.start + piece.samples > start]
    fade = round(FADE_S * sources.sample_rate)
    return mix_stretch(own, ClipSequence(entries, sources), start, start + length, fade)


def _draw_gain(
    rng: np.random.Generator, settings: SceneSettings, wave: Mix, background: Mix
) -> tuple[float, float | None]:
    """Return the factor on an event's samples, and its signal-to-noise ratio in decibels.

    A random ratio sets the level of the event. Two limits apply to the level: the range ``event_db``, and the largest
    peak of event and background together. The returned ratio is computed from the final level, so it is right even if a
    limit changed the level.
    """
    event_power, floor_power = max(power(wave), SMALLEST_POWER), power(background)
    target_db = to_decibels(floor_power) + rng.uniform(*settings.snr_db)
    lowest_db, highest_db = settings.event_db
    if target_db < lowest_db:  # in a pause or a quiet room the ratio asks for a whisper, but people speak louder
        target_db = rng.uniform(lowest_db, (lowest_db + highest_db) / 2)
    level_db = min(target_db, highest_db)
    gain = 10 ** (level_db / 20) / event_power**0.5
    room = (PEAK_ROOM - peak(background)) / max(peak(wave), 1.0)
    gain = float(max(0.0, min(gain, room)))
    if floor_power <= SMALLEST_POWER or gain == 0:
        return gain, None
    return gain, round(10 * float(np.log10(gain**2 * event_power / floor_power)), 3)
