"""A fitted front end of frames, straight to the int8 grid, and on a stream only what is new of it."""

from __future__ import annotations

from ctypes import addressof
from typing import Any

import numpy as np
import torch

from gatesearch.data.frontend import LogMel
from gatesearch.data.types import to_float
from gatesearch.data.wave import STEP
from gatesearch.kernels import native
from gatesearch.kernels.arrays import Array, address, aligned, checked


class Mel:
    """A fitted :class:`LogMel <gatesearch.data.frontend.LogMel>` or MFCC, to int8 steps of its grid.

    Features differ from the front end's by rounding alone: by one step at most, and that seldom.

    Args:
        frontend: fitted.
        library: None is the best for this CPU; without a compiler the front end itself runs.
    """

    def __init__(self, frontend: LogMel, library: native.Library | None = None) -> None:
        self.frontend, self.library = frontend, library or native.load()
        self.shape = frontend.output_shape[1:]
        if self.library is None:
            return
        fft, weights = frontend.fft, frontend.mel.double().numpy()
        bins, mels = weights.shape
        first = [int(np.flatnonzero(column)[0]) if column.any() else 0 for column in weights.T]
        runs = [np.trim_zeros(column) for column in weights.T]
        dct = getattr(frontend, "dct", None)
        self._arrays: dict[str, Array | None] = {
            "window": _floats(frontend.window),
            "turn": _turns(fft // 4, fft // 2),
            "split": _turns(bins, fft),
            "first": np.array(first, np.int32),
            "starts": np.cumsum([0, *map(len, runs)], dtype=np.int32),
            "weights": _floats(np.concatenate(runs)),
            "dct": None if dct is None else _floats(dct),
            "mean": _floats(frontend.mean),
            "std": _floats(frontend.std),
        }
        sizes = (fft, frontend.frame, frontend.stride, bins, mels, frontend.features)
        self._told = native.Mel(*sizes, 1 / STEP, *map(address, self._arrays.values()))
        self.at = addressof(self._told)
        self._scratch = aligned(self.library.function("mel_scratch")(self.at), np.uint8)

    def __call__(self, wave: Any) -> Array:
        """Return the features of one clip [samples], int8 [frames, features]."""
        out = np.zeros(self.shape, np.int8)
        samples = _samples(wave)
        checked(samples, "wave", np.float32, (self.frontend.samples,))
        if self.library is None:
            return self.reference(samples)
        run, n = self.library.function("mel"), self.shape[0]
        run(self.at, address(samples), n, address(out), address(self._scratch))
        return out

    def reference(self, wave: Array) -> Array:
        """Compute the same by the front end itself."""
        features = self.frontend(torch.from_numpy(wave)[None])[0, 0]
        return (features / STEP).round().to(torch.int8).numpy()


class MelStream:
    """The features of what a stream of sound brought last, of which each step computes only what is new.

    They equal :class:`Mel`'s bit for bit: of the clip whose last frame ends with the newest sample. A stream begins
    with silence.

    Args:
        mel: the front end.
        frames: that a step brings.

    Attributes:
        samples: of a step.
        window: int8 [frames, features], which every step changes.

    Raises:
        ValueError: frames leave samples out between them.
    """

    def __init__(self, mel: Mel, frames: int = 1) -> None:
        front, self._mel = mel.frontend, mel
        if front.frame < front.stride:
            raise ValueError(f"frames of {front.frame} samples, {front.stride} apart, do not follow each other")
        self.samples = frames * front.stride
        self.window: Array = mel(np.zeros(front.samples, np.float32))
        count = len(self.window)
        self._wave = np.zeros(front.frame + (count - 1) * front.stride, np.float32)
        if mel.library is not None:
            heard = aligned(front.frame - front.stride + self.samples, np.float32)
            self._hear, self._kept = mel.library.function("mel_stream"), (mel, heard)
            self._behind = (frames, address(heard), count, address(self.window), address(mel._scratch))

    def __call__(self, wave: Any) -> Array:
        """Take the samples of a step; return :attr:`window`.

        Raises:
            ValueError: another number of samples.
        """
        samples = _samples(wave)
        if samples.shape != (self.samples,):
            raise ValueError(f"a step is {self.samples} samples, found {list(samples.shape)}")
        if self._mel.library is not None:
            # Bytes reach C as they are; to ask an array where it lies takes as long as half a frame.
            self._hear(self._mel.at, samples.tobytes(), *self._behind)
            return self.window
        self._wave = np.append(self._wave, samples)[-len(self._wave) :]
        unread = np.zeros(self._mel.frontend.samples - len(self._wave), np.float32)
        self.window[...] = self._mel.reference(np.append(self._wave, unread))
        return self.window


def _samples(wave: Any) -> Array:
    array = np.asarray(wave)
    return array if array.dtype == np.float32 else to_float(torch.from_numpy(array)).numpy()


def _floats(values: Any) -> Array:
    return np.ascontiguousarray(np.asarray(values), np.float32)


def _turns(count: int, of: int) -> Array:
    """Return cosines and sines of -2 pi k / of, float32 [2, count]."""
    angle = -2 * np.pi / of * np.arange(count)
    return _floats(np.stack([np.cos(angle), np.sin(angle)]))
