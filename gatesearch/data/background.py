"""Cuts long background recordings into clips; each split has its own stretches of a recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gatesearch.data import folders, wav
from gatesearch.data.types import SPLITS
from gatesearch.data.waveforms import Int16Waveform, fit_length
from gatesearch.errors import UserError

SPLIT_BOUNDS = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}


@dataclass(frozen=True, slots=True)
class Background:
    """The stretches of background recordings that each split may cut into clips.

    The first 80 % of a recording are for training, then 10 % each for validation and test. A recording shorter than
    ten clips goes to one split as a whole.

    Args:
        samples: length of a clip.
        stretches: for each split, a list of its stretches. A stretch has the name of its recording, the position of its
            first sample in the recording, and its samples.
        problems: one message for each skipped file.
    """

    samples: int
    stretches: dict[str, list[tuple[str, int, Int16Waveform]]]
    problems: tuple[str, ...] = ()

    @classmethod
    def read(cls, paths: Sequence[Path], sample_rate: int, samples: int, skip_bad: bool) -> Background:
        """Read the recordings.

        Raises:
            UserError: a file is unusable and ``skip_bad`` is False.
        """
        stretches: dict[str, list[tuple[str, int, Int16Waveform]]] = {split: [] for split in SPLITS}
        problems = []
        for path in paths:
            name = f"{path.parent.name}/{path.name}"
            try:
                whole = wav.read(path, sample_rate)
            except UserError as error:
                if not skip_bad:
                    raise UserError(f"{error}; data.skip_bad_files=true leaves such files out") from None
                problems.append(str(error))
                continue
            if len(whole) < 10 * samples:
                fitted = whole if len(whole) >= samples else fit_length(whole, samples)
                stretches[folders.hashed_split(name)].append((name, 0, fitted))
                continue
            for split, bounds in SPLIT_BOUNDS.items():
                start, end = (round(bound * len(whole)) for bound in bounds)
                stretches[split].append((name, start, whole[start:end]))
        return cls(samples, stretches, tuple(problems))

    def blocks(self, split: str) -> Int16Waveform:
        """Return all stretches of a split as clips that follow one another without overlap, [n, samples]."""
        whole = [wave[: len(wave) // self.samples * self.samples] for *_, wave in self.stretches[split]]
        return np.concatenate([np.empty(0, np.int16), *whole]).reshape(-1, self.samples)

    def crops(self, split: str, count: int, rng: np.random.Generator) -> tuple[Int16Waveform, list[str]]:
        """Return random crops [n, samples] and their names.

        The number n is ``count``, or 0 if the split has no stretch. The volume is uniform from 0 to 1, as in the
        reference pipeline of Speech Commands (``input_data.py``).
        """
        pool = self.stretches[split]
        room = np.array([len(wave) - self.samples + 1 for *_, wave in pool], np.float64)
        clips, names = np.empty((max(count, 0) if pool else 0, self.samples), np.int16), []
        for clip in clips:
            name, first, wave = pool[rng.choice(len(pool), p=room / room.sum())]
            start = int(rng.integers(len(wave) - self.samples + 1))
            clip[:] = np.rint(wave[start : start + self.samples] * rng.uniform())
            names.append(f"{name}@{first + start}")
        return clips, names
