"""Synthesises single words with eSpeak NG, in the voices of a split, at the data set's sample rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import gcd

import numpy as np

from gatesearch.data import espeak, voices
from gatesearch.data.espeak import Utterance
from gatesearch.data.waveforms import FloatWaveform, fit_length
from gatesearch.errors import UserError

# Bounds of the random draws: the lowest value, and one above the highest.
WORDS_PER_MINUTE, PITCHES, PITCH_RANGES = (120, 225), (20, 81), (25, 76)
CHECKED_CLIPS = 10  # number of utterances of a word that decide whether the word fits into a clip


def draw_utterance(rng: np.random.Generator, split: str, word: str) -> Utterance:
    """Return an utterance of a word in a random voice and accent of the split, at a random pace and pitch."""
    accent = voices.ACCENTS[split][int(rng.integers(len(voices.ACCENTS[split])))]
    variant = voices.VARIANTS[split][int(rng.integers(len(voices.VARIANTS[split])))]
    words_per_minute = int(rng.integers(*WORDS_PER_MINUTE))
    pitch = int(rng.integers(*PITCHES))
    pitch_range = int(rng.integers(*PITCH_RANGES))
    return Utterance(
        text=word.replace("_", " "),
        voice=f"{accent}+{variant}",
        words_per_minute=words_per_minute,
        pitch=pitch,
        pitch_range=pitch_range,
    )


def speak_words(
    utterances: Sequence[Utterance], sample_rate: int, samples: int
) -> Iterator[tuple[Utterance, FloatWaveform]]:
    """Yield each utterance with its waveform, cut to the word and at most ``samples`` long.

    Raises:
        UserError: eSpeak NG makes no sound for a word, or the word is usually longer than a clip.
    """
    from scipy import signal

    taps: FloatWaveform | None = None
    longest: dict[str, list[int]] = {}
    for utterance, (voice_rate, wave) in zip(utterances, espeak.synthesise(utterances), strict=True):
        up, down = sample_rate // gcd(sample_rate, voice_rate), voice_rate // gcd(sample_rate, voice_rate)
        if taps is None:  # scipy's default filter, designed only once; scipy itself would design it for each clip
            most = max(up, down)
            taps = signal.firwin(20 * most + 1, 1 / most, window=("kaiser", 5.0))
        word = trim(signal.resample_poly(wave.astype(np.float64), up, down, window=taps))
        if not len(word):
            raise UserError(f"data: eSpeak NG says nothing for {utterance.text!r}; wanted: a word")
        lengths = longest.setdefault(utterance.text, [])
        lengths.append(len(word))
        if len(lengths) == CHECKED_CLIPS and np.median(lengths) > samples:
            shortest = f"{np.median(lengths) / sample_rate:.1f}"
            have = f"{samples / sample_rate:g}"
            raise UserError(f"data.seconds: {have} is too short for {utterance.text!r}; wanted: {shortest} or more")
        yield utterance, word if len(word) <= samples else fit_length(word, samples)


def trim(wave: FloatWaveform, share: float = 0.01) -> FloatWaveform:
    """Return the wave without the samples at both ends that are below a share of its peak.

    >>> trim(np.array([0.0, 0.001, 1.0, 0.0, 0.5, 0.0])).tolist()
    [1.0, 0.0, 0.5]
    """
    loud = np.flatnonzero(np.abs(wave) > share * np.abs(wave).max(initial=0.0))
    return wave[loud[0] : loud[-1] + 1] if len(loud) else wave[:0]
