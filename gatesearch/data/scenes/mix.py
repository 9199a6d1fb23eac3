"""Makes scenes from their specifications: scales clips and adds them, one stretch after another.

A scene is a labelled stream. A piece is a stretch of a clip that is mixed into the scene as background.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from gatesearch._lib import console
from gatesearch.data.scenes.sources import ClipSequence, Sources
from gatesearch.data.scenes.spec import SceneSpec, SpecEvent, SpecPiece, outline_spec
from gatesearch.data.scenes.types import Samples, Scene
from gatesearch.data.waveforms import INT16_FULL_SCALE
from gatesearch.errors import UserError

STRETCH_S = 30.0  # length of the part of a scene that is mixed at once; it limits memory and changes no sample
FADE_S = 0.01  # length of the fade at both ends of a piece or event; without a fade, the cut would click

Mix = npt.NDArray[np.float32]
Addend = SpecPiece | SpecEvent


def make_scene(spec: SceneSpec, sources: Sources, *, warns: bool = True) -> Scene:
    """Make the scene of a specification; the same specification and clips give the same samples, bit for bit.

    Args:
        spec: the specification of the scene.
        sources: clips of the specification's split, at its sample rate.
        warns: whether to warn if the mix exceeds full scale and is limited to it.

    Raises:
        UserError: a source or a clip is missing or has changed, or the sources have another split or sample rate.
    """
    clipped = 0
    samples: Samples | None = None
    for start, stretch, over in iterate_stretches(spec, sources):
        if samples is None:
            samples = np.empty((spec.samples, *stretch.shape[1:]), stretch.dtype)
        samples[start : start + len(stretch)] = stretch
        clipped += over
    assert samples is not None  # a scene has at least one sample
    if clipped and warns:
        console.warn(describe_clipping(spec.name, clipped, spec.samples))
    return Scene(**vars(outline_spec(spec)), samples=samples, clipped=clipped)


def describe_clipping(name: str, clipped: int, samples: int) -> str:
    """Return the line that says how many samples of a mix exceeded full scale."""
    return f"scene {name!r}: {clipped:,} of {samples:,} samples exceed full scale and are limited to it"


def iterate_stretches(
    spec: SceneSpec, sources: Sources, stretch_s: float = STRETCH_S
) -> Iterator[tuple[int, Samples, int]]:
    """Yield the scene in stretches: position of the first sample, samples, and how many of them were limited.

    Each sample is a sum of the same terms in the same order, whatever the length of a stretch.

    Raises:
        UserError: a source or a clip is missing or has changed, or the sources have another split or sample rate.
    """
    if sources.split != spec.split:
        raise UserError(f"scene {spec.name!r} is of the {spec.split} split, and the sources are of {sources.split}")
    if sources.sample_rate != spec.sample_rate:
        rates = f"{spec.sample_rate:g} Hz, and the sources are at {sources.sample_rate:g} Hz"
        raise UserError(f"scene {spec.name!r} is at {rates}")
    clips = ClipSequence(spec.clips, sources)
    addends: list[Addend] = [*spec.pieces, *(event for event in spec.events if event.clip is not None)]
    length = max(1, round(stretch_s * spec.sample_rate))
    mixes = spec.signal == "sound"
    for start in range(0, spec.samples, length):
        end = min(start + length, spec.samples)
        own = [addend for addend in addends if addend.start < end and addend.start + addend.samples > start]
        if mixes:
            mix = mix_stretch(own, clips, start, end, round(FADE_S * spec.sample_rate))
            np.rint(mix, out=mix)
            limited = np.clip(mix, -INT16_FULL_SCALE, INT16_FULL_SCALE - 1)
            yield start, limited.astype(np.int16), int(np.count_nonzero(limited != mix))
        else:
            yield start, _join_stretch(own, clips, start, end, spec.name), 0


def mix_stretch(addends: Sequence[Addend], clips: Sequence[Samples], start: int, end: int, fade: int) -> Mix:
    """Return the sum of pieces and events from sample ``start`` to ``end`` of a scene, in units of int16.

    Args:
        addends: the pieces and events, in the order in which they are added.
        clips: the clips, in the order of the indices that the addends name.
        start, end: first sample of the stretch, and the sample after its last one.
        fade: number of samples over which a piece or event rises at its start and falls at its end.
    """
    mix = np.zeros(end - start, np.float32)
    for addend in addends:
        first, last = max(start, addend.start), min(end, addend.start + addend.samples)
        if first >= last:
            continue
        offset = addend.clip_start + first - addend.start
        assert addend.clip is not None
        wave = clips[addend.clip][offset : offset + last - first].astype(np.float32) * np.float32(addend.gain)
        fade_ends(wave, first - addend.start, addend.samples, fade)
        mix[first - start : last - start] += wave
    return mix


def fade_ends(wave: Mix, position: int, samples: int, fade: int) -> None:
    """Fade the ends of a piece or event in place.

    ``wave`` is the part of the piece or event from its sample ``position`` on. ``samples`` is the length of the whole
    piece or event.
    """
    # Over the first ``fade`` samples of the whole, the factor rises from 1 / (fade + 1) to fade / (fade + 1). Over the
    # last ``fade`` samples it falls in the same way.
    fade = min(fade, samples // 2)
    rise = max(0, min(len(wave), fade - position))
    if rise:
        wave[:rise] *= (np.arange(position, position + rise, dtype=np.float32) + 1) / np.float32(fade + 1)
    fall = max(0, samples - fade - position)
    if fall < len(wave):
        rest = np.arange(samples - position - fall, samples - position - len(wave), -1, dtype=np.float32)
        wave[fall:] *= rest / np.float32(fade + 1)


def _join_stretch(pieces: Sequence[Addend], clips: Sequence[Samples], start: int, end: int, name: str) -> Samples:
    """Return the samples of pieces from ``start`` to ``end``; the pieces have to follow one another without a gap."""
    parts: list[Samples] = []
    position = start
    for piece in pieces:
        if max(start, piece.start) != position or piece.clip is None:
            break
        offset = piece.clip_start + position - piece.start
        last = min(end, piece.start + piece.samples)
        parts.append(clips[piece.clip][offset : offset + last - position])
        position = last
    if position != end:
        raise UserError(f"scene {name!r}: its pieces leave a gap or overlap at sample {position}")
    return np.concatenate(parts)
