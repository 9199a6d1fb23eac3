"""Sources for scenes, made in memory for tests: a few short clips of every kind, without files."""

from __future__ import annotations

from functools import partial

import numpy as np

from gatesearch.data.scenes.settings import SceneSettings
from gatesearch.data.scenes.sources import Clip, Source, Sources
from gatesearch.data.scenes.spec import SplitName

RATE = 1000
KIND_SECONDS = {"quiet": 4.0, "environment": 3.0, "speech": 0.8, "music": 5.0, "noise": 2.0}


def make_wave(seed: list[int], seconds: float, level: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(0, level, round(seconds * RATE)), -32768, 32767).astype(np.int16)


def make_word(seed: list[int]) -> np.ndarray:
    """Return a second of faint noise that contains a loud "word" (noise) of 300 to 500 ms."""
    rng = np.random.default_rng(seed)
    wave = rng.normal(0, 5, RATE)
    length = int(rng.integers(300, 500))
    start = int(rng.integers(100, RATE - length - 100))
    wave[start : start + length] += rng.normal(0, 6000, length)
    return np.clip(wave, -32768, 32767).astype(np.int16)


def make_sources(split: SplitName = "train", words: tuple[str, ...] = ("yes", "no"), count: int = 5) -> Sources:
    number = ("train", "validation", "test").index(split)
    clips = []
    for index, word in enumerate(words):
        for take in range(count):
            seed = [number, index, take]
            clips.append(
                Clip(
                    source="words",
                    name=f"{word}/{split}{take}.wav",
                    recording=f"words:{word}/{split}{take}",
                    speaker=f"words:{split}{take}",
                    label=word,
                    read=partial(make_word, seed),
                )
            )
    for index, (kind, seconds) in enumerate(KIND_SECONDS.items()):
        for take in range(3):
            seed = [number, index, take, 9]
            clips.append(
                Clip(
                    source="words",
                    name=f"{kind}/{split}{take}.wav",
                    recording=f"words:{kind}/{split}{take}",
                    speaker=f"words:{split}{take}" if kind == "speech" else None,
                    kind=kind,
                    read=partial(make_wave, seed, seconds, 1000),
                )
            )
    source = Source(name="words", settings={"kind": "folders", "root": "nowhere"}, clips=tuple(clips))
    return Sources(split, float(RATE), [source])


def short_settings(**changes: object) -> SceneSettings:
    base = {"hours": 0.05, "events": 20, "segment_s": [5, 15], "sample_rate": float(RATE)}
    return SceneSettings.model_validate(base | changes)
