"""Writes a folder of spoken words for tests, with tones in place of speech, and lists settings for tiny runs on it.

Each word is a tone of its own pitch, so even a tiny network can tell the words apart.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import soundfile

from gatesearch.data.folders import hashed_split

RATE = 16000
PITCH = {"up": 500, "down": 1800, "bed": 1000, "cat": 3000, "_silence_": 0}  # hertz; 0 for noise alone
SPEAKERS_PER_SPLIT = {"train": 14, "validation": 5, "test": 5}

# Overrides that make a run of kws_clips.yaml tiny.
TINY = (
    # The device of kws_clips.yaml runs only .tflite files. This device has three cores, each with another engine.
    "device=three_core",
    "export.formats=[tflite,onnx]",
    "data.positives=[up,down]",
    "augment.renditions=1",
    "backbone_args.width=8",
    "backbone_args.blocks=2",
    # An epoch has 14 steps. After fewer epochs, the network does not tell the words apart, and the run stops early.
    "training.epochs=12",
    "training.batch_size=5",
    "training.averaging=0",
    "search.trials=3",
    "search.epochs=1",
    "retrain.epochs=1",
    "constraints.max_accuracy_drop=1.0",
    "verify.gate_agreement=0.0",
    "verify.prediction_agreement=0.0",
    # One site and one mode: only six parts of the network have to be converted and timed.
    "space.sites=[blocks.0]",
    "space.gates={min: 1, max: 1}",
    "space.kinds.gc.mode=[channel]",
)


def write(root: Path) -> Path:
    """Write a clip of each word by each of 24 speakers, with the numbers of speakers of :data:`SPEAKERS_PER_SPLIT`."""
    generator = np.random.default_rng(0)
    time = np.arange(RATE) / RATE
    names = [hashlib.md5(bytes([i, 1])).hexdigest()[:8] for i in range(200)]
    speakers: list[str] = []
    for split, count in SPEAKERS_PER_SPLIT.items():
        speakers += [name for name in names if hashed_split(name) == split][:count]
    for word, hertz in PITCH.items():
        (root / word).mkdir(parents=True)
        for speaker in speakers:
            tone = 0.3 * np.sin(2 * np.pi * hertz * (1 + 0.02 * generator.standard_normal()) * time)
            wave = tone * (hertz > 0) + 0.01 * generator.standard_normal(RATE)
            soundfile.write(root / word / f"{speaker}_nohash_0.wav", wave, RATE, subtype="PCM_16")
    return root
