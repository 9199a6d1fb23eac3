"""Front ends: from a waveform to the features a backbone reads; see :mod:`gatesearch.data.images` for images.

The numbers are those of MLPerf Tiny's keyword spotting (Banbury et al. 2021, reference code
``get_dataset.py``), which in turn are those of ``tf.signal``. One difference: clips are *not* divided by
their own maximum, since a device that listens all the time cannot know it in advance, and silence must stay
quiet.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gatesearch import errors
from gatesearch.data.images import Normalise
from gatesearch.data.sequences import Sequence
from gatesearch.data.types import Dataset, to_float
from gatesearch.data.wave import RANGE, Wave, on_grid, require_sound
from gatesearch.errors import UserError

FIT_CHUNK = 512  # clips at a time, so that fitting on 40,000 clips does not need their spectra at once


class Identity(nn.Module):
    """Passes tensors on, as float; for data that needs no features.

    >>> Identity()(torch.tensor([[0, 128]], dtype=torch.uint8)).tolist()
    [[0.0, 0.5]]
    """

    name = "identity"

    def forward(self, inputs: Tensor) -> Tensor:
        """Return inputs [N, ...] as float [N, ...]."""
        return to_float(inputs)

    def fit(self, inputs: Tensor) -> Identity:
        """Learn nothing."""
        return self

    def macs(self) -> int:
        """Return 0."""
        return 0

    def describe(self) -> dict[str, Any]:
        """Return what :func:`restore` needs, as JSON-ready values."""
        return {"name": self.name, "args": {}, "macs": 0}

    def refit(self, description: Mapping[str, Any]) -> None:
        """Take over nothing."""


class LogMel(nn.Module):
    """Logarithmic mel spectrogram [N, samples] -> [N, 1, frames, mel_bins].

    Frames without padding, periodic Hann window, magnitude of the real FFT, HTK mel triangles of height one,
    ``log(x + 1e-6)``. Integer waveforms are scaled to +-1 first.

    Args:
        sample_rate: samples per second.
        seconds: length of a clip; only :meth:`macs` and :meth:`describe` need it.
        window_ms: length of a frame.
        stride_ms: from frame to frame.
        fft: points of the FFT, at least a frame; the frame is padded with zeros at its end.
        mel_bins: mel triangles.
        low_hz: lower edge of the first triangle.
        high_hz: upper edge of the last triangle.

    Raises:
        UserError: a value that does not fit the others.

    >>> LogMel()(torch.zeros(2, 16000, dtype=torch.int16)).shape
    torch.Size([2, 1, 49, 40])
    """

    name = "log_mel"
    window: Tensor
    mel: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        sample_rate: int = 16000,
        seconds: float = 1.0,
        window_ms: float = 30.0,
        stride_ms: float = 20.0,
        fft: int = 512,
        mel_bins: int = 40,
        low_hz: float = 20.0,
        high_hz: float = 4000.0,
    ) -> None:
        super().__init__()
        self.args: dict[str, Any] = {
            "sample_rate": sample_rate,
            "seconds": seconds,
            "window_ms": window_ms,
            "stride_ms": stride_ms,
            "fft": fft,
            "mel_bins": mel_bins,
            "low_hz": low_hz,
            "high_hz": high_hz,
        }
        self.frame = round(sample_rate * window_ms / 1000)
        self.stride = round(sample_rate * stride_ms / 1000)
        self.fft = fft
        self.samples = round(sample_rate * seconds)
        self._check(0 < self.frame <= fft, "window_ms", window_ms, f"a frame of 1 to fft={fft} samples")
        self._check(fft & (fft - 1) == 0, "fft", fft, "a power of two")
        self._check(self.stride > 0, "stride_ms", stride_ms, "one sample or more")
        self._check(self.samples >= self.frame, "seconds", seconds, f"one window ({window_ms} ms) or more")
        self._check(0 <= low_hz < high_hz, "low_hz", low_hz, f"0 to below high_hz={high_hz}")
        self._check(high_hz <= sample_rate / 2, "high_hz", high_hz, f"at most {sample_rate / 2:g}")
        self._check(mel_bins > 0, "mel_bins", mel_bins, "1 or more")
        self.register_buffer("window", torch.hann_window(self.frame, periodic=True), persistent=False)
        weights = mel_weights(mel_bins, fft // 2 + 1, sample_rate, low_hz, high_hz)
        # Bins above the last triangle weigh nothing: at 4 of 8 kHz that is half of all magnitudes.
        weights = weights[: int(weights.any(1).nonzero().max()) + 1] if weights.any() else weights
        self.register_buffer("mel", weights, persistent=False)
        self.register_buffer("mean", torch.zeros(self.features))
        self.register_buffer("std", torch.ones(self.features))

    def _check(self, holds: bool, key: str, written: object, wanted: str) -> None:
        if not holds:
            raise UserError(f"frontend.{key}: {written!r} does not fit; wanted: {wanted}")

    @property
    def features(self) -> int:
        """Features of a frame."""
        return int(self.args["mel_bins"])

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """Shape of one clip's features (1, frames, features)."""
        return (1, 1 + (self.samples - self.frame) // self.stride, self.features)

    def spectrum(self, waves: Tensor) -> Tensor:
        """Return features before normalisation, [N, samples] -> [N, frames, features]."""
        frames = to_float(waves).unfold(-1, self.frame, self.stride) * self.window
        bins = torch.fft.rfft(frames, n=self.fft)[..., : len(self.mel)]
        return torch.log(bins.abs() @ self.mel + 1e-6)

    def forward(self, waves: Tensor) -> Tensor:
        """Return normalised features, [N, samples] -> [N, 1, frames, features]."""
        return on_grid((self.spectrum(waves) - self.mean) / self.std).unsqueeze(1)

    @property
    def output_range(self) -> tuple[float, float]:
        """Smallest and largest feature."""
        return RANGE

    @torch.no_grad()
    def fit(self, inputs: Tensor) -> LogMel:
        """Set mean and standard deviation of every feature from training data [N, samples].

        Raises:
            UserError: the data is no sound.
        """
        require_sound(self.name, inputs)
        # Sums in double: the features of 40,000 clips are two million numbers of one sign.
        count, total, squares = 0, torch.zeros(self.features), torch.zeros(self.features)
        total, squares = total.double().to(self.mean.device), squares.double().to(self.mean.device)
        for chunk in inputs.split(FIT_CHUNK):
            features = self.spectrum(chunk.to(self.mean.device)).double()
            count += features.shape[0] * features.shape[1]
            total += features.sum((0, 1))
            squares += features.square().sum((0, 1))
        mean = total / max(count, 1)
        std = (squares / max(count, 1) - mean.square()).clamp(min=0).sqrt()
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std < 1e-5, 1.0, std))  # a constant feature stays zero
        return self

    def frame_macs(self) -> dict[str, int]:
        """Return multiply-accumulates of one frame, by step.

        A real FFT of n points is a complex one of n/2 (n/4 log2(n/2) butterflies) and n/2 complex products to
        disentangle it; a complex product is four multiply-accumulates. The magnitude is two products for
        every bin up to ``high_hz`` (square roots and logarithms are not counted); of the mel matrix only what
        is not zero.
        """
        n = self.fft
        return {
            "window": self.frame,
            "fft": 4 * (n // 4 * int(math.log2(n // 2)) + n // 2),
            "magnitude": 2 * len(self.mel),
            "mel": int(self.mel.count_nonzero()),
            "normalise": self.features,
        }

    def macs(self) -> int:
        """Return multiply-accumulates of one clip: :meth:`frame_macs` times frames."""
        return sum(self.frame_macs().values()) * self.output_shape[1]

    def describe(self) -> dict[str, Any]:
        """Return what :func:`restore` needs, as JSON-ready values, with shapes and cost for the reader."""
        return {
            "name": self.name,
            "args": dict(self.args),
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "input_shape": [self.samples],
            "output_shape": list(self.output_shape),
            "macs": self.macs(),
        }

    def refit(self, description: Mapping[str, Any]) -> None:
        """Take over what was fitted, as :meth:`describe` tells it."""
        self.mean.copy_(torch.tensor(description["mean"]))
        self.std.copy_(torch.tensor(description["std"]))


class MFCC(LogMel):
    """Mel-frequency cepstral coefficients [N, samples] -> [N, 1, frames, coefficients].

    MLPerf Tiny's by default. The DCT-II of the log mel spectrum, scaled as
    ``tf.signal.mfccs_from_log_mel_spectrograms`` does: by ``sqrt(2 / mel_bins)`` for every coefficient, the
    first included.

    Args:
        coefficients: how many to keep, from the first.
        **mel: see :class:`LogMel`.

    Raises:
        UserError: a value that does not fit the others.

    >>> mfcc = MFCC()
    >>> mfcc(torch.zeros(2, 16000)).shape, mfcc.macs()
    (torch.Size([2, 1, 49, 10]), 319137)
    """

    name = "mfcc"
    dct: Tensor

    def __init__(self, coefficients: int = 10, **mel: Any) -> None:
        self.coefficients = coefficients
        super().__init__(**mel)
        bins = int(self.args["mel_bins"])
        self._check(0 < coefficients <= bins, "coefficients", coefficients, f"1 to mel_bins={bins}")
        self.args["coefficients"] = coefficients
        angle = math.pi / bins * (torch.arange(bins, dtype=torch.float64) + 0.5)
        dct = torch.cos(angle[:, None] * torch.arange(coefficients)) * math.sqrt(2 / bins)
        self.register_buffer("dct", dct.float(), persistent=False)

    @property
    def features(self) -> int:
        """Features of a frame."""
        return self.coefficients

    def spectrum(self, waves: Tensor) -> Tensor:
        """Return coefficients before normalisation, [N, samples] -> [N, frames, coefficients]."""
        return super().spectrum(waves) @ self.dct

    def frame_macs(self) -> dict[str, int]:
        """Return multiply-accumulates of one frame, by step, with those of the DCT as a matrix product."""
        return {**super().frame_macs(), "dct": self.dct.numel()}


Frontend = Identity | LogMel | Normalise | Sequence | Wave
FRONTENDS: Mapping[str, type[Frontend]] = {
    frontend.name: frontend for frontend in (MFCC, LogMel, Normalise, Sequence, Wave, Identity)
}


def build(name: str, **args: Any) -> Frontend:
    """Build a front end by the name a recipe gives it.

    Raises:
        UserError: an unknown name or argument, or one that does not fit.

    >>> build("mfcc", coefficients=13).output_shape
    (1, 49, 13)
    """
    known = _keys(name)
    for key in args:
        if key not in known:
            raise errors.unknown("frontend", f"key of {name}", key, known)
    return FRONTENDS[name](**args)


def frontend_for(dataset: Dataset, name: str, **args: Any) -> Frontend:
    """Build a front end for the clips of a data set: their rate and length are its own where no others are given.

    Raises:
        UserError: as :func:`build`.
    """
    rate, known = dataset.sample_rate, _keys(name)
    if rate is not None:
        clips = {"sample_rate": rate, "seconds": dataset.train.inputs.shape[-1] / rate}
        args = {key: value for key, value in clips.items() if key in known} | args
    return build(name, **args)


def _keys(name: str) -> list[str]:
    if name not in FRONTENDS:
        raise errors.unknown("frontend.name", "front end", name, FRONTENDS)
    made = FRONTENDS[name]
    own = {} if made.__init__ is nn.Module.__init__ else inspect.signature(made).parameters
    mel = inspect.signature(LogMel).parameters if issubclass(made, LogMel) else {}
    return [key for key in {**own, **mel} if key != "mel"]


def restore(description: Mapping[str, Any]) -> Frontend:
    """Rebuild a fitted front end from its :meth:`LogMel.describe`, as a bundle's manifest holds it.

    >>> fitted = MFCC().fit(torch.randn(4, 16000))
    >>> bool((restore(fitted.describe()).mean == fitted.mean).all())
    True
    """
    frontend = build(description["name"], **description["args"])
    frontend.refit(description)
    return frontend


def mel_weights(mel_bins: int, bins: int, sample_rate: int, low_hz: float, high_hz: float) -> Tensor:
    """Return HTK mel triangles [bins, mel_bins], as ``tf.signal.linear_to_mel_weight_matrix`` does.

    Triangles are straight on the mel axis (1127 ln(1 + f/700)), of height one, and leave out the bin at 0 Hz.
    """

    def mel(hertz: Tensor) -> Tensor:
        return 1127.0 * torch.log1p(hertz / 700.0)

    at = mel(torch.linspace(0, sample_rate / 2, bins, dtype=torch.float64))[:, None]
    low, high = mel(torch.tensor([low_hz, high_hz], dtype=torch.float64)).tolist()
    edges = torch.linspace(low, high, mel_bins + 2, dtype=torch.float64)
    rising = (at - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - at) / (edges[2:] - edges[1:-1])
    weights = torch.minimum(rising, falling).clamp(min=0)
    weights[0] = 0
    return weights.float()
