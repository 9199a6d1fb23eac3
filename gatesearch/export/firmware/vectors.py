"""Golden vectors: a stretch of sound, and what the Python runtime decides at each of its hops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatesearch.export.firmware.arrays import number
from gatesearch.kernels.arrays import Array
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.listener import Listener
from gatesearch.runtime.open_listener import open_bundle

SEARCH_S = 600.0  # seconds of sound that are searched for a detection
BEFORE_S, AFTER_S = 2.0, 1.0  # seconds of the stretch before and after its detection
NOISE_S = 4.0  # seconds of noise from which golden vectors are made if the caller has no sound
WAITING, SIGNAL = -2, -1  # GS_WAITING and GS_SIGNAL in gatesearch.h


@dataclass(frozen=True, slots=True)
class Vector:
    """The decision of one hop.

    Args:
        last_stage: the last stage that ran; -1 if the gate on the signal stopped the hop, -2 before the first window.
        caught_up: bit k is set if stage k computed a whole window, because its gate opened.
        label: index of the detected class; -1 for none.
        confidence: the detection's confidence; 0 for none.
    """

    last_stage: int
    caught_up: int
    label: int
    confidence: float


def choose_stretch(bundle: Bundle, sound: Array) -> Array:
    """Return a stretch of sound with a detection if there is one, int16 [n]; else the beginning of the sound.

    Args:
        bundle: the bundle, opened with the engine ``litert`` on every core.
        sound: int16 [n].
    """
    listener = open_bundle(bundle)
    rate, window = listener.stream.rate, listener.stream.window
    sound = sound[: round(SEARCH_S * rate)]
    detection = next(iter(listener.push(sound)), None)
    length = window + round((BEFORE_S + AFTER_S) * rate)
    if detection is None:
        return sound[:length]
    first = max(0, round((detection.time_s - BEFORE_S) * rate) - window)
    return sound[first : first + length]


def make_noise() -> Array:
    """Return noise of changing loudness, int16 [n]; it is the same in each call."""
    generator = np.random.default_rng(0)
    loudness = np.repeat(generator.uniform(1, 3000, 40), round(NOISE_S * 16000 / 40))
    return np.clip(generator.standard_normal(len(loudness)) * loudness, -32768, 32767).astype(np.int16)


def trace_hops(bundle: Bundle, sound: Array) -> list[Vector]:
    """Return the decision of every hop of a stream that starts with this sound."""
    listener = open_bundle(bundle)
    hop = listener.stream.hop
    return [_read_hop(listener, sound[first : first + hop]) for first in range(0, len(sound) - hop + 1, hop)]


def _read_hop(listener: Listener, samples: Array) -> Vector:
    before, caught_up, hops = listener.reached.copy(), listener.catch_ups, listener.hops
    detection = next(iter(listener.push(samples)), None)
    stages = np.flatnonzero(listener.reached > before)
    nothing = WAITING if listener.hops == hops else SIGNAL
    bits = sum(1 << k for k, (now, then) in enumerate(zip(listener.catch_ups, caught_up, strict=True)) if now > then)
    return Vector(
        last_stage=int(stages[-1]) if len(stages) else nothing,
        caught_up=bits,
        label=-1 if detection is None else listener.settings.classes.index(detection.label),
        confidence=0.0 if detection is None else detection.confidence,
    )


def vectors_text(sound: Array, vectors: list[Vector]) -> str:
    """Return vectors.h: the samples, and the decision of each hop."""
    samples = ",".join(map(str, sound.tolist()))
    rows = ",\n".join(
        f"    {{{v.last_stage}, {v.caught_up}, {v.label}, {number(np.float32(v.confidence))}}}" for v in vectors
    )
    return f"""/* Generated: golden vectors. gatesearch/export/firmware/vectors.py makes them. */
#include <stdint.h>
typedef struct {{
  int last_stage;
  uint32_t caught_up;
  int label;
  float confidence;
}} gs_vector;
#define GS_VECTORS {len(vectors)}
static const gs_vector gs_vectors[GS_VECTORS] = {{
{rows}}};
static const int16_t gs_vector_samples[] = {{
{_wrap(samples)}}};
"""


def _wrap(text: str, width: int = 116) -> str:
    lines, start = [], 0
    while start < len(text):
        end = start + width if start + width >= len(text) else text.rfind(",", start, start + width) + 1
        lines.append("    " + text[start:end])
        start = end
    return "\n".join(lines)
