"""Sources of synthetic sound: speech of eSpeak NG, and backgrounds made from random numbers.

A source holds the clips of one split, from which scenes (labelled streams) are made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from gatesearch.data import cache, noise
from gatesearch.data.scenes.music import make_music
from gatesearch.data.scenes.phrases import draw_sentence, find_near_words
from gatesearch.data.scenes.settings import SyntheticNoise, SyntheticSpeech
from gatesearch.data.scenes.sources import Clip, Source
from gatesearch.data.scenes.spec import SPLIT_NAMES, SplitName
from gatesearch.data.spoken_words import draw_utterance, speak_words
from gatesearch.data.waveforms import FloatWaveform, to_int16

VERSION = 1  # a part of the file's name in the cache; it changes whenever the clips change
HELD_OUT_SHARE = 0.5  # number of utterances in validation, and in test, divided by the number in training
LONGEST_UTTERANCE_S = 6.0
UTTERANCE_PEAK, NOISE_PEAK = 0.5, 0.5  # as a share of full scale; a scene sets the levels when it is drawn

Maker = Callable[[np.random.Generator, int, int], FloatWaveform]
MAKERS: Mapping[str, Sequence[Maker]] = {
    "quiet": (noise.pink, noise.brown),
    "environment": (noise.clicks, noise.hum, noise.babble),
    "music": (make_music,),
    "noise": (noise.white, noise.pink, noise.brown),
}


def load_speech(settings: SyntheticSpeech, split: SplitName, sample_rate: float) -> Source:
    """Return words, near words and sentences in the split's own voices and accents; a cache stores them.

    Raises:
        UserError: eSpeak NG is not installed, or makes no sound for a word.
    """
    share = 1.0 if split == "train" else HELD_OUT_SHARE
    count, sentences = max(1, round(share * settings.utterances)), max(1, round(share * settings.sentences))
    near_words = find_near_words(settings.events) if settings.near_words is None else settings.near_words
    rng = np.random.default_rng([settings.seed, SPLIT_NAMES.index(split), 3])
    plan = [("event", word, word) for word in settings.events for _ in range(count)]
    if near_words:
        plan += [("near_word", "", near_words[number % len(near_words)]) for number in range(count)]
    plan += [("speech", "", draw_sentence(rng, settings.events)) for _ in range(sentences)]
    utterances = [draw_utterance(rng, split, text) for _, _, text in plan]
    parameters = {"version": VERSION, "utterances": [list(each) for each in utterances], "sample_rate": sample_rate}
    path = cache.cache_path(None, "scene-speech", parameters)
    arrays = cache.read(path)
    if arrays is None:
        rate = round(sample_rate)
        waves = [_to_peak(wave) for _, wave in speak_words(utterances, rate, round(LONGEST_UTTERANCE_S * rate))]
        ends = np.cumsum([len(wave) for wave in waves])
        arrays = {"audio": np.concatenate(waves), "ends": ends}
        cache.write(path, arrays)
    audio, bounds = arrays["audio"], [0, *arrays["ends"].tolist()]
    clips = []
    for number, ((kind, label, text), utterance) in enumerate(zip(plan, utterances, strict=True)):
        name = f"{text}/{utterance.voice}-{utterance.words_per_minute}-{utterance.pitch}-{number}"
        clips.append(
            Clip(
                source=settings.name,
                name=name,
                recording=f"eSpeak NG:{settings.seed}:{split}:{name}",
                speaker=f"eSpeak NG {utterance.voice}",
                label=label or None,
                kind=None if label else kind,
                read=partial(audio.__getitem__, slice(bounds[number], bounds[number + 1])),
            )
        )
    return Source(name=settings.name, settings=settings.model_dump(mode="json"), clips=tuple(clips), synthetic=True)


def load_noise(settings: SyntheticNoise, split: SplitName, sample_rate: float) -> Source:
    """Return generated backgrounds; each split has random numbers of its own."""
    clips = []
    for kind in settings.backgrounds:
        for number in range(settings.clips):
            seed = [settings.seed, SPLIT_NAMES.index(split), list(MAKERS).index(kind), number, 4]
            name = f"{kind}/{number}"
            make = MAKERS[kind][number % len(MAKERS[kind])]
            clips.append(
                Clip(
                    source=settings.name,
                    name=name,
                    recording=f"random noise:{settings.seed}:{split}:{name}",
                    speaker=None,
                    kind=kind,
                    read=partial(_make_noise, make, seed, round(settings.seconds * sample_rate), round(sample_rate)),
                )
            )
    return Source(name=settings.name, settings=settings.model_dump(mode="json"), clips=tuple(clips), synthetic=True)


def _make_noise(make: Maker, seed: Sequence[int], samples: int, sample_rate: int) -> npt.NDArray[Any]:
    return _to_peak(make(np.random.default_rng(seed), samples, sample_rate), NOISE_PEAK)


def _to_peak(wave: FloatWaveform, peak: float = UTTERANCE_PEAK) -> npt.NDArray[Any]:
    highest = float(np.abs(wave).max(initial=0.0))
    return to_int16(wave * (peak / highest)) if highest else to_int16(wave)
