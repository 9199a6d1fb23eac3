"""Fixtures for the tests of data sets: a writer of WAV files, and a small Speech Commands folder."""

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
    """A function that writes a short WAV file into the test's folder; ``mark`` is the value of its first sample."""

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
    """A folder like Speech Commands: three words and silence, each with 2, 1 and 1 clips for the three splits."""
    lists: dict[str, list[str]] = {"validation": [], "testing": []}
    for number, word in enumerate(["yes", "no", "bird", "_silence_"], 1):
        for clip, split in enumerate(["train", "train", "validation", "testing"]):
            name = f"{word}/speaker{clip}_nohash_{number}.wav"
            write_wav(name, mark=10 * number + clip)
            lists.get(split, []).append(name)
    for split, names in lists.items():
        (tmp_path / f"{split}_list.txt").write_text("\n".join(names) + "\n")
    return tmp_path
