"""Draws the specification of a scene of sound: room tone, one background after another, and events over them.

A scene is a labelled stream. A segment is a stretch of time with one kind of background. A piece is a stretch of a clip
that is mixed into the scene as background.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gatesearch.data.scenes.clip_table import ClipTable
from gatesearch.data.scenes.events import draw_events
from gatesearch.data.scenes.levels import peak, power
from gatesearch.data.scenes.settings import SceneSettings
from gatesearch.data.scenes.sources import KINDS, Clip, Sources
from gatesearch.data.scenes.spec import SPLIT_NAMES, SceneSpec, SpecPiece, SpecSegment
from gatesearch.data.scenes.types import Samples
from gatesearch.data.waveforms import INT16_FULL_SCALE
from gatesearch.errors import UserError

QUIET = "quiet"
UTTERANCES = ("speech", "near_word")  # kinds of background with pauses between their clips
LARGEST_PEAK = 0.7 * INT16_FULL_SCALE  # largest peak of a background piece; events over it need room
SHORTEST_PIECE_S = 0.1


def draw_sound(settings: SceneSettings, sources: Sources) -> SceneSpec:
    """Draw the specification of a scene; the same settings and sources give the same specification.

    Raises:
        UserError: there is no clip of an event or of a kind of background, or there is too little room for the events.
    """
    rate = sources.sample_rate
    samples = round(settings.hours * 3600 * rate)
    if not samples:
        raise UserError(f"hours: {settings.hours:g} hours at {rate:g} Hz are less than one sample")
    rng = np.random.default_rng([settings.seed, SPLIT_NAMES.index(settings.split)])
    table = ClipTable(sources)
    shares = find_shares(settings, sources)
    segments = draw_segments(rng, shares, samples, settings.segment_s, rate)
    pieces = list(_draw_room_tone(rng, settings, table, samples))
    cycles = {kind: _Cycle(rng, [clip for clip in sources.clips if clip.kind == kind]) for kind in shares}
    for segment in segments:
        if segment.kind != QUIET:
            pieces += _fill_segment(rng, settings, table, segment, cycles[segment.kind])
    classes = tuple(dict.fromkeys(clip.label for clip in sources.clips if clip.label is not None))
    events = draw_events(rng, settings, table.add, sources, classes, segments, (pieces, table.entries))
    return table.build_spec(settings, "sound", samples, classes, pieces=pieces, segments=segments, events=events)


def find_shares(settings: SceneSettings, sources: Sources) -> dict[str, float]:
    """Return the share in time of each kind of background that has a share above 0.

    Raises:
        UserError: the settings name a kind for which the split has no clip.
    """
    present = [kind for kind in KINDS if any(clip.kind == kind for clip in sources.clips)]
    if settings.shares is None:
        return dict.fromkeys(present, 1 / len(present))
    ordered = sorted(settings.shares.items(), key=lambda item: KINDS.index(item[0]))
    shares: dict[str, float] = {kind: share for kind, share in ordered if share}
    for kind in shares:
        if kind not in present:
            raise UserError(
                f"shares.{kind}: no source has a clip of this kind in the {settings.split} split "
                f"(it has: {', '.join(present)})"
            )
    return shares


def draw_segments(
    rng: np.random.Generator,
    shares: Mapping[str, float],
    samples: int,
    segment_s: tuple[float, float],
    rate: float,
) -> list[SpecSegment]:
    """Return segments in random order that fill a scene; the share of each kind is exact to the sample."""
    # The cumulative shares are rounded, so the samples of all kinds add up to the length of the scene.
    bounds = np.rint(np.cumsum([0.0, *shares.values()]) / sum(shares.values()) * samples).astype(int)
    lengths: list[tuple[str, int]] = []
    for kind, first, end in zip(shares, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        left = end - first
        while left > 0:
            length = round(rng.uniform(*segment_s) * rate)
            # A rest that would be shorter than any segment joins the segment before it.
            length = left if left - length < segment_s[0] * rate else min(length, left)
            lengths.append((kind, length))
            left -= length
    segments, start = [], 0
    for index in rng.permutation(len(lengths)):
        kind, length = lengths[index]
        segments.append(SpecSegment(kind=kind, start=start, samples=length))
        start += length
    return segments


class _Cycle:
    """Returns clips in random order; each comes once before any comes again."""

    def __init__(self, rng: np.random.Generator, clips: Sequence[Clip]) -> None:
        self._rng, self._clips = rng, clips
        self._order: list[int] = []

    def next(self) -> Clip:
        if not self._order:
            self._order = self._rng.permutation(len(self._clips)).tolist()
        return self._clips[self._order.pop()]


def _draw_room_tone(
    rng: np.random.Generator, settings: SceneSettings, table: ClipTable, samples: int
) -> Iterator[SpecPiece]:
    """Yield pieces of quiet background that lie under the whole scene."""
    clips = [clip for clip in table.sources.clips if clip.kind == QUIET]
    if not clips:
        raise UserError(f"sources: none has a quiet clip in the {settings.split} split; add {{kind: synthetic_noise}}")
    cycle, start = _Cycle(rng, clips), 0
    while start < samples:
        clip = cycle.next()
        wave = table.sources.read(clip)
        length = min(len(wave), samples - start)
        gain = _scale(wave, rng.uniform(*settings.quiet_db))
        yield SpecPiece(clip=table.add(clip), clip_start=0, start=start, samples=length, gain=gain)
        start += length


def _fill_segment(
    rng: np.random.Generator, settings: SceneSettings, table: ClipTable, segment: SpecSegment, cycle: _Cycle
) -> Iterator[SpecPiece]:
    """Yield pieces of a segment's kind one after another, all at about one level, with pauses between utterances."""
    rate = table.sources.sample_rate
    level_db = rng.uniform(*settings.level_db)
    position, end = segment.start, segment.start + segment.samples
    while True:
        if segment.kind in UTTERANCES:
            position += round(rng.uniform(*settings.pause_s) * rate)
        if end - position < SHORTEST_PIECE_S * rate:
            return
        clip = cycle.next()
        wave = table.sources.read(clip)
        length = min(len(wave), end - position)
        # A recording that is too long for the rest of the segment is cut at a random sample. An utterance always plays
        # from its start.
        clip_start = 0 if segment.kind in UTTERANCES else int(rng.integers(len(wave) - length + 1))
        gain = _scale(wave[clip_start : clip_start + length], level_db)
        yield SpecPiece(clip=table.add(clip), clip_start=clip_start, start=position, samples=length, gain=gain)
        position += length


def _scale(wave: Samples, level_db: float) -> float:
    """Return the factor that brings a waveform to a level, or as near as its peak allows; 0 for silence."""
    share, highest = power(wave), peak(wave)
    if share == 0:
        return 0.0
    return float(min(10 ** (level_db / 20) / share**0.5, LARGEST_PEAK / highest))
