"""A folder of WAV files for tests, and a recipe small enough for them.

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
PER_SPLIT = {"train": 14, "validation": 5, "test": 5}

TINY = (
    # Three cores with an engine each; the recipe's own device runs .tflite files alone.
    "device=three_core",
    "export.formats=[tflite,onnx]",
    "data.positives=[up,down]",
    "augment.renditions=1",
    "backbone_args.width=8",
    "backbone_args.blocks=2",
    # An epoch has 14 steps. With fewer epochs the network does not tell the words apart, and the run ends at once.
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
    """Write 24 clips of each word, one for each speaker; each of the three splits has some of the speakers."""
    generator = np.random.default_rng(0)
    time = np.arange(RATE) / RATE
    speakers = [
        who
        for split, count in PER_SPLIT.items()
        for who in [
            w for w in (hashlib.md5(bytes([i, 1])).hexdigest()[:8] for i in range(200)) if hashed_split(w) == split
        ][:count]
    ]
    for word, hertz in PITCH.items():
        (root / word).mkdir(parents=True)
        for who in speakers:
            tone = 0.3 * np.sin(2 * np.pi * hertz * (1 + 0.02 * generator.standard_normal()) * time)
            wave = tone * (hertz > 0) + 0.01 * generator.standard_normal(RATE)
            soundfile.write(root / word / f"{who}_nohash_0.wav", wave, RATE, subtype="PCM_16")
    return root
