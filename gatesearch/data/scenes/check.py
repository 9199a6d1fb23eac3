"""Checks scenes before a detector is trained or tested on them; an error names the first fault.

A scene is a labelled stream of sound, motion or images.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise

from gatesearch import errors
from gatesearch.data.scenes.types import Outline
from gatesearch.errors import DataError

# If T hours have no false accept, the rate is below 3 / T per hour with a confidence of 95 % (Poisson distribution).
RULE_OF_THREE = 3.0
ROUNDING_S = 1e-6
TRAIN = "train"


def check_scenes(
    scenes: Sequence[Outline], classes: Sequence[str] | None = None, fa_per_hour: float | None = None
) -> None:
    """Check scenes of all splits together.

    Args:
        scenes: scenes or their outlines; each names its split.
        classes: the classes that a detector can report; None takes the classes of each scene.
        fa_per_hour: a rate of false accepts per hour; the scenes for validation and for test have to be long enough to
            show that a detector stays below this rate. None for no such claim.

    Raises:
        DataError: a scene has no events; an event lies outside its scene or overlaps another event; a class is unknown,
            or is also a kind of background; sample rates differ; two splits share a recording, a speaker or a clip; or
            scenes are too short for the claim.
    """
    if not scenes:
        raise DataError("scenes: there are none to check")
    for scene in scenes:
        _check_scene(scene, scene.classes if classes is None else classes)
    for scene in scenes[1:]:
        if scene.rate != scenes[0].rate:
            rates = f"{scenes[0].name!r} is at {scenes[0].rate:g} Hz and scene {scene.name!r} at {scene.rate:g} Hz"
            raise DataError(f"scene {rates}; make them at one rate")
    for first, second in combinations(scenes, 2):
        # Two recordings without a split may be for different splits. So they, too, must not share any sound.
        if first.split is None or first.split != second.split:
            _check_disjoint(first, second)
    if fa_per_hour is not None:
        _check_claim(scenes, fa_per_hour)


def smallest_claim(hours: float) -> float:
    """Return the upper bound (95 % confidence) on false accepts per hour, if there were none in ``hours`` hours.

    >>> smallest_claim(1.5)
    2.0
    """
    return RULE_OF_THREE / hours


def _check_scene(scene: Outline, classes: Sequence[str]) -> None:
    """Check that events have valid classes and do not overlap, and that events and segments lie in the scene."""
    where = f"scene {scene.name!r}"
    if not scene.events:
        raise DataError(f"{where}: holds no events; wanted: one or more to detect")
    ordered = sorted(scene.events, key=lambda event: event.start_s)
    for event in ordered:
        if event.label not in classes:
            raise DataError(f"{where}: {errors.unknown_name('class', event.label, classes)}")
        span = f"event {event.label!r} at {event.start_s:g} to {event.end_s:g} s"
        if event.start_s < 0 or event.end_s > scene.seconds + ROUNDING_S:
            raise DataError(f"{where}: {span} lies outside of its {scene.seconds:g} s")
        if event.start_s == event.end_s:
            raise DataError(f"{where}: {span} has no length")
    for before, after in pairwise(ordered):
        if after.start_s < before.end_s - ROUNDING_S:
            raise DataError(
                f"{where}: event {after.label!r} starts at {after.start_s:g} s, before {before.label!r} ends at "
                f"{before.end_s:g} s"
            )
    kinds = {segment.kind for segment in scene.segments}
    for label in classes:
        if label in kinds:
            raise DataError(f"{where}: {label!r} is a class of events and a kind of background; rename one of them")
    for segment in scene.segments:
        if segment.start_s < 0 or segment.end_s > scene.seconds + ROUNDING_S or segment.start_s > segment.end_s:
            span = f"{segment.kind!r} at {segment.start_s:g} to {segment.end_s:g} s"
            raise DataError(f"{where}: background {span} lies outside of its {scene.seconds:g} s")


def _check_disjoint(first: Outline, second: Outline) -> None:
    names = " and ".join(f"{each.name!r}" + (f" ({each.split})" if each.split else "") for each in (first, second))
    names = f"scenes {names}"
    for noun, shared in (
        ("recording", first.recordings & second.recordings),
        ("speaker", first.speakers & second.speakers),
    ):
        if shared:
            rest = f" and {len(shared) - 1} more" if len(shared) > 1 else ""
            raise DataError(f"{names} share the {noun} {min(shared)!r}{rest}; draw them from splits of their own")
    copies = sorted(first.digests.keys() & second.digests.keys())
    if copies:
        rest = f" and {len(copies) - 1} more" if len(copies) > 1 else ""
        pair = f"{first.digests[copies[0]]!r} and {second.digests[copies[0]]!r}"
        raise DataError(f"{names} share sound: {pair} are copies{rest}")


def _check_claim(scenes: Sequence[Outline], fa_per_hour: float) -> None:
    for split in sorted({scene.split or "" for scene in scenes} - {TRAIN}):
        hours = sum(scene.hours for scene in scenes if (scene.split or "") == split)
        if smallest_claim(hours) > fa_per_hour * (1 + 1e-9):
            remedy = "no length is enough"
            if fa_per_hour > 0:
                remedy = f"take {RULE_OF_THREE / fa_per_hour:.3g} hours or more"
            raise DataError(
                f"{split or 'scenes'}: {hours:.3g} hours are too short for a claim of {fa_per_hour:g} false accepts an "
                f"hour: without any, the rate is below {smallest_claim(hours):.3g} (3 / hours, at 95 %); {remedy}"
            )
