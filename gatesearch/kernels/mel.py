"""Log-mel and MFCC front ends with int8 output; on a stream, each step computes only the new frames."""

from __future__ import annotations

import ctypes
from ctypes import addressof, c_char_p, c_float, c_int32, c_void_p
from typing import Any, ClassVar

import numpy as np
import torch

from gatesearch._lib.tensors import to_float
from gatesearch.frontends import LogMel
from gatesearch.frontends.grid import FEATURE_SCALE, fake_quantise
from gatesearch.frontends.mel_filters import filter_runs
from gatesearch.kernels import native
from gatesearch.kernels.arrays import Array, address, aligned_zeros, check_array
from gatesearch.kernels.base import Kernel
from gatesearch.kernels.library import ADDRESS, INT, SIZE, SOURCES, Library, Signatures

WIDEST_SOUND_BYTES = 4  # bytes of the widest integer sample that is accepted
LARGEST_POWER = 16.0  # largest mean square of samples that is accepted; sound of full scale 1 has at most 1


class CMel(ctypes.Structure):
    """The C struct ``gs_mel`` of kernels.h: the sizes and arrays of a front end."""

    _fields_ = (
        *((name, c_int32) for name in ("fft", "frame", "stride", "bins", "mels", "features")),
        ("steps", c_float),
        *((name, c_void_p) for name in ("window", "turn", "split", "first", "starts")),
        *((name, c_void_p) for name in ("weights", "dct", "mean", "std")),
    )


class MelKernel(Kernel):
    """The log-mel and MFCC front end."""

    name = "mel"
    source = SOURCES / "mel.c"
    rank = 20
    signatures: ClassVar[Signatures] = {
        "mel_scratch": (SIZE, (ADDRESS,)),
        "mel": (None, (ADDRESS, ADDRESS, INT, ADDRESS, ADDRESS)),
        "mel_stream": (None, (ADDRESS, c_char_p, INT, ADDRESS, INT, ADDRESS, ADDRESS)),
    }


class Mel:
    """A fitted :class:`LogMel <gatesearch.frontends.LogMel>` or MFCC front end with int8 features.

    An int8 value is a feature divided by ``FEATURE_SCALE``, rounded. Rarely, it differs by 1 from the value that the
    front end's own feature gives.

    Args:
        frontend: a fitted front end.
        library: the compiled kernels; None loads the best ones for this CPU. Without a compiler, the front end runs.

    Attributes:
        arrays: the arrays that C reads, by the names of the fields of ``gs_mel``; there are none without a compiler.
        c: the C struct; it does not exist without a compiler.
    """

    def __init__(self, frontend: LogMel, library: Library | None = None) -> None:
        self.frontend, self.library = frontend, library or native.load()
        self.shape, self.stride, self.frame = frontend.output_shape[1:], frontend.stride, frontend.frame
        if self.library is None:
            return
        fft, weights = frontend.fft, frontend.mel.double().numpy()
        bins, mels = weights.shape
        runs = filter_runs(weights)
        dct = getattr(frontend, "dct", None)
        self.arrays: dict[str, Array | None] = {
            "window": _floats(frontend.window),
            "turn": _roots(fft // 4, fft // 2),
            "split": _roots(bins, fft),
            "first": runs.first,
            "starts": runs.starts,
            "weights": _floats(runs.weights),
            "dct": None if dct is None else _floats(dct),
            "mean": _floats(frontend.mean),
            "std": _floats(frontend.std),
        }
        self.c = CMel(
            fft=fft,
            frame=frontend.frame,
            stride=frontend.stride,
            bins=bins,
            mels=mels,
            features=frontend.features,
            steps=1 / FEATURE_SCALE,
            **{name: address(array) for name, array in self.arrays.items()},
        )
        self.address = addressof(self.c)
        self._scratch = aligned_zeros(self.library.function("mel_scratch")(self.address), np.uint8)

    @property
    def scratch_bytes(self) -> int:
        """Bytes of memory that the kernel needs while it runs."""
        return int(self._scratch.nbytes)

    def c_sizes(self) -> dict[str, Any]:
        """Return the fields of ``gs_mel`` that are numbers."""
        names = ("fft", "frame", "stride", "bins", "mels", "features")
        return {**{name: int(getattr(self.c, name)) for name in names}, "steps": np.float32(self.c.steps)}

    def __call__(self, wave: Any) -> Array:
        """Return the features of one clip [samples], int8 [frames, features]."""
        out = np.zeros(self.shape, np.int8)
        samples = _samples(wave)
        check_array(samples, "wave", np.float32, (self.frontend.samples,))
        if self.library is None:
            return self.reference(samples)
        run, n = self.library.function("mel"), self.shape[0]
        run(self.address, address(samples), n, address(out), address(self._scratch))
        return out

    def frames(self, wave: Any, count: int) -> Array:
        """Return the features of the first frames of a stretch of sound [n], int8 [count, features].

        A frame's features do not depend on the other frames, so that they equal those of any clip with that frame.

        Raises:
            ValueError: the sound is shorter than these frames.
        """
        samples, front = _samples(wave), self.frontend
        if count < 1 or samples.ndim != 1 or len(samples) < front.frame + (count - 1) * front.stride:
            raise ValueError(f"{count} frames of a sound of {list(samples.shape)} samples")
        if self.library is None:
            features = front.spectrum(torch.from_numpy(samples)[None])[:, :count]
            return np.ascontiguousarray(_steps(fake_quantise(front.normalise(features))[0]))
        out = np.empty((count, self.shape[1]), np.int8)
        self.library.function("mel")(self.address, address(samples), count, address(out), address(self._scratch))
        return out

    def reference(self, wave: Array) -> Array:
        """Return the features of one clip, computed by the front end itself."""
        return _steps(self.frontend(torch.from_numpy(wave)[None])[0, 0])


class MelStream:
    """The features of the latest window of a sound stream; each step computes the features of the new frames alone.

    The features equal, bit for bit, those that :class:`Mel` returns for a clip whose last frame ends with the newest
    sample. A stream begins with silence.

    Args:
        mel: the front end.
        frames: number of new frames in a step.

    Attributes:
        samples: number of samples of a step.
        window: the features, int8 [frames, features]; every step changes it.

    Raises:
        ValueError: there are gaps between frames.
    """

    def __init__(self, mel: Mel, frames: int = 1) -> None:
        front, self._mel = mel.frontend, mel
        if front.frame < front.stride:
            raise ValueError(f"frames of {front.frame} samples, {front.stride} apart: there are gaps between frames")
        self.samples = frames * front.stride
        self.window: Array = mel(np.zeros(front.samples, np.float32))
        count = len(self.window)
        self._wave = np.zeros(front.frame + (count - 1) * front.stride, np.float32)
        if mel.library is not None:
            self._recent = aligned_zeros(front.frame - front.stride + self.samples, np.float32)
            self._function = mel.library.function("mel_stream")
            self._arguments = (frames, address(self._recent), count, address(self.window), address(mel._scratch))

    def __call__(self, wave: Any) -> Array:
        """Return :attr:`window` after the samples of one more step.

        Raises:
            ValueError: the number of samples is wrong.
        """
        samples = _samples(wave)
        if samples.shape != (self.samples,):
            raise ValueError(f"a step is {self.samples} samples, found {list(samples.shape)}")
        if self._mel.library is not None:
            # ctypes passes the memory of bytes directly. To ask an array for its address would take half as long as the
            # features of a frame.
            self._function(self._mel.address, samples.tobytes(), *self._arguments)
            return self.window
        self._wave = np.append(self._wave, samples)[-len(self._wave) :]
        unread = np.zeros(self._mel.frontend.samples - len(self._wave), np.float32)
        self.window[...] = self._mel.reference(np.append(self._wave, unread))
        return self.window


def _samples(wave: Any) -> Array:
    """Return sound as float32 of full scale 1.

    Raises:
        ValueError: the samples have another type, are not finite, or are floats in the range of int16.
    """
    array = np.asarray(wave)
    if array.dtype == np.int16:  # always finite and within full scale
        return np.multiply(array, np.float32(2**-15), dtype=np.float32)
    if array.dtype != np.float32:
        if array.dtype.kind != "f" and not (array.dtype.kind == "i" and array.dtype.itemsize <= WIDEST_SOUND_BYTES):
            raise ValueError(f"wave is {array.dtype}; wanted: float, or int8, int16 or int32, of full scale")
        native = np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else array.dtype.newbyteorder("="))
        array = to_float(torch.from_numpy(native)).numpy()
    array = np.ascontiguousarray(array)
    # The product array.dot(array) also detects samples that are not finite: every comparison with NaN is false.
    if array.ndim == 1 and not array.dot(array) <= LARGEST_POWER * len(array):
        raise ValueError(
            "wave has values that are not finite, or int16 values as floats; wanted: sound of full scale 1"
        )
    return array


def _steps(features: torch.Tensor) -> Array:
    steps: Array = (features / FEATURE_SCALE).round().to(torch.int8).numpy()
    return steps


def _floats(values: Any) -> Array:
    return np.ascontiguousarray(np.asarray(values), np.float32)


def _roots(count: int, order: int) -> Array:
    """Return cosines and sines of -2 pi k / order for k < count, float32 [2, count]: roots of unity for an FFT."""
    angle = -2 * np.pi / order * np.arange(count)
    return _floats(np.stack([np.cos(angle), np.sin(angle)]))
