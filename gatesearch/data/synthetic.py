"""Generates synthetic speech data: words that eSpeak NG speaks, mixed with generated noise.

Accuracy on synthetic speech says nothing about people. Every figure from it is labelled as synthetic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gatesearch import errors
from gatesearch.data import cache, folders, noise, voices
from gatesearch.data.spoken_words import draw_utterance, speak_words
from gatesearch.data.types import SPLITS, Dataset, Split
from gatesearch.data.wav import Progress
from gatesearch.data.waveforms import FloatWaveform, Int16Waveform, to_int16
from gatesearch.errors import UserError

VERSION = 1  # a part of the data set's name in the cache; it changes whenever the clips change
HELD_OUT_SHARES = {"validation": 0.15, "test": 0.15}
FEWEST_CLIPS = 10  # smallest number of clips of a class
SPEECH_DB = (-36.0, -16.0)  # lowest and highest root mean square of a word, against full scale
SNR_DB = (5.0, 30.0)  # lowest and highest power of the word (not of the whole clip) over the power of the noise
SILENCE_DB = (-80.0, -20.0)  # lowest and highest root mean square of a clip of noise, against full scale
REPORT_EVERY_CLIPS = 200


def load(
    positives: Sequence[str],
    negatives: Mapping[str, Sequence[str]],
    seed: int,
    clips_per_class: int,
    sample_rate: int = 16000,
    seconds: float = 1.0,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Generate the data set, or read it from the cache; the same arguments give the same bytes.

    The training split gets 70 % of each class, validation and test 15 % each. No voice and no accent is in two splits,
    and each split has some unknown words of its own. The arguments are those of :func:`gatesearch.data.speech.load`.
    Some words of a negative class have a special meaning. ``"*"`` means the words of Speech Commands that no class
    names. ``_silence_`` and ``_background_noise_`` mean generated noise. eSpeak NG speaks every other word.

    Raises:
        UserError: there are too few clips, a word does not fit into a clip, or eSpeak NG is not installed.
    """
    folders.check_names(positives, negatives)
    if clips_per_class < FEWEST_CLIPS:
        raise UserError(f"data.clips_per_class: {clips_per_class!r}; wanted: {FEWEST_CLIPS} or more")
    parameters = {
        "version": VERSION,
        "positives": list(positives),
        "negatives": [[name, list(class_words)] for name, class_words in negatives.items()],
        "seed": seed,
        "clips_per_class": clips_per_class,
        "sample_rate": sample_rate,
        "seconds": seconds,
    }
    path = cache.cache_path(cache_dir, "speech", parameters)
    arrays = cache.read(path)
    if arrays is None:
        samples = round(sample_rate * seconds)
        arrays = _generate_clips(positives, negatives, seed, clips_per_class, sample_rate, samples, progress)
        cache.write(path, arrays)
    splits = {
        split: Split(
            torch.from_numpy(arrays[f"{split}_inputs"]),
            torch.from_numpy(arrays[f"{split}_labels"]),
            tuple(arrays[f"{split}_names"].tolist()),
        )
        for split in SPLITS
    }
    background = arrays["noise"]
    return Dataset(
        name="synthetic speech",
        source=f"synthetic: eSpeak NG, {sum(map(len, voices.VARIANTS.values()))} voices and "
        f"{sum(map(len, voices.ACCENTS.values()))} accents, none in two splits; generated noise at "
        f"{SNR_DB[0]:g} to {SNR_DB[1]:g} dB; says nothing about real speech",
        synthetic=True,
        classes=(*positives, *negatives),
        positive=(*(True for _ in positives), *(False for _ in negatives)),
        noise=torch.from_numpy(background) if len(background) else None,
        sample_rate=sample_rate,
        **splits,
    )


def _generate_clips(
    positives: Sequence[str],
    negatives: Mapping[str, Sequence[str]],
    seed: int,
    clips_per_class: int,
    sample_rate: int,
    samples: int,
    progress: Progress | None,
) -> cache.Arrays:
    """Return inputs, labels and names of the clips of each split, and the noise clips of the training split."""
    order = []
    for split in SPLITS:
        for label, words in enumerate(_words(positives, negatives, split)):
            count = _count_clips(split, clips_per_class)
            order += [(split, label, word) for word in _repeat_in_turn(words, count)]
    rng = np.random.default_rng([seed, 0])
    utterances = [
        draw_utterance(rng, split, word) for split, _, word in order if word not in folders.BACKGROUND_FOLDERS
    ]
    waves = speak_words(utterances, sample_rate, samples)
    rng = np.random.default_rng([seed, 1])
    inputs: dict[str, list[Int16Waveform]] = {split: [] for split in SPLITS}
    labels: dict[str, list[int]] = {split: [] for split in SPLITS}
    names: dict[str, list[str]] = {split: [] for split in SPLITS}
    backgrounds: list[Int16Waveform] = []
    for number, (split, label, word) in enumerate(order, 1):
        kind, background = noise.draw_noise(rng, samples, sample_rate)
        if word in folders.BACKGROUND_FOLDERS:
            clip = to_int16(background * _amplitude(rng, SILENCE_DB))
            if split == "train":
                backgrounds.append(clip)
            name = f"{word}/{kind}-{number}"
        else:
            utterance, wave = next(waves)
            clip = to_int16(_mix_into_noise(rng, wave, background))
            name = f"{word}/{utterance.voice}-{utterance.words_per_minute}-{utterance.pitch}-{number}"
        inputs[split].append(clip)
        labels[split].append(label)
        names[split].append(name)
        if progress and (number % REPORT_EVERY_CLIPS == 0 or number == len(order)):
            progress(number, len(order))
    arrays: dict[str, npt.NDArray[Any]] = {"noise": np.array(backgrounds, np.int16).reshape(-1, samples)}
    for split in SPLITS:
        arrays[f"{split}_inputs"] = np.stack(inputs[split])
        arrays[f"{split}_labels"] = np.array(labels[split], np.int64)
        arrays[f"{split}_names"] = np.array(names[split])
    return arrays


def _words(positives: Sequence[str], negatives: Mapping[str, Sequence[str]], split: str) -> list[tuple[str, ...]]:
    """Return the words that are spoken in the clips of each class in a split; noise has its name in place of a word."""
    class_vocabulary = {*positives, *(word for class_words in negatives.values() for word in class_words)}
    other_words = tuple(word for word in (*voices.WORDS, *voices.ONLY_IN[split]) if word not in class_vocabulary)
    words: list[tuple[str, ...]] = [(word,) for word in positives]
    for name, class_words in negatives.items():
        for word in class_words:
            if word.startswith("_") and word not in folders.BACKGROUND_FOLDERS:
                raise errors.unknown(f"data.negatives.{name}", "background", word, folders.BACKGROUND_FOLDERS)
        # Both names of background mean the same generated noise, which counts once.
        unique_words = dict.fromkeys(
            folders.BACKGROUND_FOLDERS[0] if word in folders.BACKGROUND_FOLDERS else word for word in class_words
        )
        spoken_words: list[str] = []
        for word in unique_words:
            spoken_words += other_words if word == folders.ANY_OTHER else (word,)
        words.append(tuple(spoken_words))
    return words


def _count_clips(split: str, clips_per_class: int) -> int:
    """Return how many clips of a class a split gets."""
    counts = {name: max(1, round(share * clips_per_class)) for name, share in HELD_OUT_SHARES.items()}
    return counts.get(split, clips_per_class - sum(counts.values()))


def _repeat_in_turn(words: Sequence[str], count: int) -> list[str]:
    """Return ``count`` words by going through the list again and again.

    >>> _repeat_in_turn(["a", "b", "c"], 7)
    ['a', 'b', 'c', 'a', 'b', 'c', 'a']
    """
    return [words[i % len(words)] for i in range(count)]


def _mix_into_noise(rng: np.random.Generator, word: FloatWaveform, background: FloatWaveform) -> FloatWaveform:
    """Add the word to the noise at a random place, level and signal-to-noise ratio."""
    level = _amplitude(rng, SPEECH_DB)
    clip = background * (level / _amplitude(rng, SNR_DB))
    start = int(rng.integers(len(clip) - len(word) + 1))
    clip[start : start + len(word)] += noise.scale_to_unit_power(word) * level
    return clip


def _amplitude(rng: np.random.Generator, decibels: tuple[float, float]) -> float:
    """Draw a level in decibels and return it as an amplitude."""
    return float(10 ** (rng.uniform(*decibels) / 20))
