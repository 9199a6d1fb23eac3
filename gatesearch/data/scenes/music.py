"""Generates music-like sound from random numbers: chords, a tune and a beat, at unit power."""

from __future__ import annotations

import numpy as np

from gatesearch.data.noise import scale_to_unit_power
from gatesearch.data.waveforms import FloatWaveform

SCALE = (0, 2, 4, 5, 7, 9, 11)  # semitones of a major key
CHORDS = ((0, 2, 4), (3, 5, 0), (4, 6, 1), (5, 0, 2))  # steps of the scale: I, IV, V, VI
PARTIALS = 6
BEATS_A_BAR = 4


def make_music(rng: np.random.Generator, samples: int, sample_rate: float) -> FloatWaveform:
    """Return a clip of music-like sound [samples] at root mean square 1.

    >>> wave = make_music(np.random.default_rng(0), 16000, 16000)
    >>> wave.shape, round(float(np.mean(wave**2)), 6)
    ((16000,), 1.0)
    """
    # A chord begins each bar, a note of the tune sounds on most beats, and a short burst of noise marks every beat.
    beat = max(2, round(sample_rate * 60 / rng.uniform(80, 150)))
    root_hertz = 110 * 2 ** (rng.integers(12) / 12)
    timbre = rng.uniform(0.2, 1.0, PARTIALS) / np.arange(1, PARTIALS + 1)
    beats = -(-samples // beat)
    wave = np.zeros((beats + BEATS_A_BAR) * beat)
    for number in range(beats):
        start = number * beat
        if number % BEATS_A_BAR == 0:
            chord = CHORDS[int(rng.integers(len(CHORDS)))]
            for step in chord:
                _add_note(wave, start, BEATS_A_BAR * beat, root_hertz * _ratio(step), timbre, sample_rate, 1.5)
        if rng.random() < 0.7:
            tune = root_hertz * 2 * _ratio(int(rng.integers(2 * len(SCALE))))
            _add_note(wave, start, beat, tune, timbre, sample_rate, 4.0)
        length = min(beat, round(0.06 * sample_rate))
        decay = np.exp(-np.arange(length) / (0.012 * sample_rate))
        wave[start : start + length] += 0.8 * rng.standard_normal(length) * decay * (1.0 if number % 2 == 0 else 0.4)
    return scale_to_unit_power(wave[:samples])


def _ratio(step: int) -> float:
    # The frequency of a step of the scale, as a multiple of the root's frequency.
    octave, degree = divmod(step, len(SCALE))
    return float(2 ** (octave + SCALE[degree] / 12))


def _add_note(
    wave: FloatWaveform,
    start: int,
    length: int,
    hertz: float,
    timbre: FloatWaveform,
    sample_rate: float,
    decay_per_s: float,
) -> None:
    """Add a plucked note: partials below half the sample rate, a short rise, and a decay."""
    time = np.arange(length) / sample_rate
    envelope = np.minimum(time / 0.01, 1.0) * np.exp(-decay_per_s * time)
    for number, strength in enumerate(timbre, 1):
        if number * hertz < sample_rate / 2:
            wave[start : start + length] += 0.3 * strength * envelope * np.sin(2 * np.pi * number * hertz * time)
