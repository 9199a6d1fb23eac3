"""WAV files for the data tests: a function that writes one, and a small Speech Commands folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

SAMPLES = 1600
Writer = Callable[..., Path]


@pytest.fixture
def write_wav(tmp_path: Path) -> Writer:
    """Write a short WAV file below the test's folder; the first sample holds ``mark``."""

    def write(name: str, mark: int = 1, samples: int = SAMPLES, rate: int = 16000, level: int = 100) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = np.full(samples, level, np.int16)
        wave[:1] = mark
        soundfile.write(path, wave, rate, subtype="PCM_16")
        return path

    return write


@pytest.fixture
def tree(tmp_path: Path, write_wav: Writer) -> Path:
    """Speech Commands as unpacked: 2 + 1 + 1 clips of three words and of silence, split by lists."""
    lists: dict[str, list[str]] = {"validation": [], "testing": []}
    for number, word in enumerate(["yes", "no", "bird", "_silence_"], 1):
        for clip, split in enumerate(["train", "train", "validation", "testing"]):
            name = f"{word}/speaker{clip}_nohash_{number}.wav"
            write_wav(name, mark=10 * number + clip)
            lists.get(split, []).append(name)
    for split, names in lists.items():
        (tmp_path / f"{split}_list.txt").write_text("\n".join(names) + "\n")
    return tmp_path
