"""The front end ``log_mel``: the logarithmic mel spectrogram of sound.

Its features are those of MLPerf Tiny's keyword spotting (Banbury et al. 2021, reference code ``get_dataset.py``), which
uses ``tf.signal``. One thing differs: clips are *not* divided by their own maximum. A device that listens all the time
cannot know the maximum in advance, and silence must stay quiet.
"""

from __future__ import annotations

import math
from typing import ClassVar, Self

import torch
from torch import Tensor

from gatesearch._lib.tensors import to_float, to_int16
from gatesearch.errors import UserError
from gatesearch.frontends.base import (
    CHUNK_SAMPLES,
    FIXED_POINT,
    FrameCall,
    NormalisingFrontend,
    count_hop_frames,
    mean_and_std,
)
from gatesearch.frontends.feature_steps import GRID, SCALE, Step
from gatesearch.frontends.fixed_mel import FixedMel
from gatesearch.frontends.fixed_mel_tables import fixed_mel_tables
from gatesearch.frontends.grid import FEATURE_RANGE, FEATURE_SCALE, fake_quantise
from gatesearch.frontends.mel_filters import LOG_OFFSET, MEL_FACTOR, MEL_HERTZ, mel_edges, mel_filters
from gatesearch.graph.hops.frames import Frames


class LogMel(NormalisingFrontend):
    """Computes the logarithmic mel spectrogram, [N, samples] to [N, 1, frames, mel_bins].

    Integer waveforms are scaled to +-1 first. The waveform is cut into frames without padding, and each frame is
    multiplied by a periodic Hann window. A real FFT gives the magnitudes of a frame. Each mel filter, a triangle of
    height one on HTK's mel scale, sums the magnitudes to a value x. The feature is ``log(x + 1e-6)``.

    Args:
        sample_rate: samples per second.
        seconds: length of a clip in seconds.
        window_ms: length of a frame in milliseconds.
        stride_ms: time from one frame to the next in milliseconds.
        fft: number of points of the FFT, a power of two. A frame has at most as many samples; zeros fill up its end.
        mel_bins: number of mel filters.
        low_hz: lower edge of the first filter in Hz.
        high_hz: upper edge of the last filter in Hz.

    Raises:
        UserError: an argument is not valid, or does not fit the others.

    >>> LogMel()(torch.zeros(2, 16000, dtype=torch.int16)).shape
    torch.Size([2, 1, 49, 40])
    """

    has_fixed_point: ClassVar[bool] = True  # fixed() ignores an inherited value: a derived class may differ
    name = "log_mel"
    gives_spectrum = True
    expects = "sound, [samples] each"
    dimensions = 1
    window: Tensor
    mel: Tensor

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
        self.arguments |= {
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
        self.input_shape = (self.samples,)
        self.check_argument(0 < self.frame <= fft, "window_ms", f"a frame of 1 to fft={fft} samples")
        self.check_argument(fft & (fft - 1) == 0, "fft", "a power of two")
        self.check_argument(self.stride > 0, "stride_ms", "one sample or more")
        self.check_argument(self.samples >= self.frame, "seconds", f"one window ({window_ms} ms) or more")
        self.check_argument(0 <= low_hz < high_hz, "low_hz", f"0 to below high_hz={high_hz}")
        self.check_argument(high_hz <= sample_rate / 2, "high_hz", f"at most {sample_rate / 2:g}")
        self.check_argument(mel_bins > 0, "mel_bins", "1 or more")
        self.register_buffer("window", torch.hann_window(self.frame, periodic=True), persistent=False)
        filters = mel_filters(mel_bins, fft // 2 + 1, sample_rate, low_hz, high_hz)
        self.register_buffer("mel", filters, persistent=False)
        self.set_statistics(torch.zeros(mel_bins), torch.ones(mel_bins))

    def check_argument(self, fits: bool, key: str, choices: str) -> None:
        """Check one argument of the constructor.

        Raises:
            UserError: the argument is not valid.
        """
        if not fits:
            raise UserError(f"frontend.{key}: {self.arguments[key]!r} does not fit; wanted: {choices}")

    def check_inputs(self, inputs: Tensor) -> None:
        """Check that the data are clips of the length that the arguments give.

        Raises:
            UserError: the data are no sound, or have another length.
        """
        super().check_inputs(inputs)
        if inputs.shape[1] != self.samples:
            written = f"{self.arguments['seconds']!r} at {self.arguments['sample_rate']} Hz is {self.samples} samples"
            raise UserError(f"frontend.seconds: {written}; the data has clips of {inputs.shape[1]}")

    @property
    def features(self) -> int:
        """Number of features per frame."""
        return int(self.arguments["mel_bins"])

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """Shape of one clip's features (1, frames, features)."""
        return (1, 1 + (self.samples - self.frame) // self.stride, self.features)

    @property
    def output_range(self) -> tuple[float, float]:
        """Smallest and largest feature."""
        return FEATURE_RANGE

    def magnitudes(self, waves: Tensor) -> Tensor:
        """Return magnitudes of the real FFT, [N, samples] -> [N, frames, bins]."""
        frames = to_float(waves).unfold(-1, self.frame, self.stride) * self.window
        return torch.fft.rfft(frames, n=self.fft)[..., : len(self.mel)].abs()

    def compress(self, magnitudes: Tensor) -> Tensor:
        """Return features before normalisation, [N, frames, bins] -> [N, frames, features]."""
        return torch.log(magnitudes @ self.mel + LOG_OFFSET)

    def spectrum(self, waves: Tensor) -> Tensor:
        """Return features before normalisation, [N, samples] -> [N, frames, features]."""
        return self.compress(self.magnitudes(waves))

    def forward(self, waves: Tensor) -> Tensor:
        """Return normalised features, [N, samples] -> [N, 1, frames, features]."""
        if self.arithmetic == FIXED_POINT:
            return self.fixed_features(waves)
        return fake_quantise(self.normalise(self.spectrum(waves))).unsqueeze(1)

    def hop_frames(self, hop: int) -> Frames:
        """Return the time axis of the features for a hop of ``hop`` samples.

        Raises:
            UserError: the hop is no multiple of the stride.
        """
        return Frames(axis=2, count=self.output_shape[1], hop=count_hop_frames(hop, self.stride))

    def hop_state(self, window: Tensor) -> Tensor:
        """Return the end of a window [N, samples] from the sample where the next frame starts, [N, tail]."""
        return window[:, self.output_shape[1] * self.stride :]

    def step(self, samples: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of the frames that end in a hop, [N, 1, fresh frames, features], and the next state."""
        frames = self.hop_frames(samples.shape[1])
        both = torch.cat([state, samples], 1)
        gap = max(0, frames.count * self.stride - self.samples)  # new samples before the next frame starts
        first = gap + (frames.hop - frames.fresh) * self.stride
        if self.arithmetic == FIXED_POINT:
            return self.fixed_features(both[:, first:]), both[:, samples.shape[1] :]
        fresh = self.magnitudes(both[:, first:])
        # The features have to equal those of a whole window, bit for bit. But a matrix product with few rows may sum in
        # another order than a product with many rows; 13 % of the values then differ by 2e-7. So zero rows are put
        # before the fresh rows, which then have the same positions as in the product for the whole window.
        rows = torch.nn.functional.pad(fresh, (0, 0, frames.first_fresh, 0))
        features = fake_quantise(self.normalise(self.compress(rows)[:, frames.first_fresh :])).unsqueeze(1)
        return features, both[:, samples.shape[1] :]

    def hop_macs(self, hop: int) -> int:
        """Return the multiply-accumulates of a hop: :meth:`frame_macs` times the number of its fresh frames."""
        return sum(self.frame_macs().values()) * self.hop_frames(hop).fresh

    def fixed(self, scale: float = FEATURE_SCALE, zero_point: int = 0) -> FixedMel | None:
        """Return the tables that compute the features in fixed point.

        Returns None if ``fft`` is too small or too large, or if a derived class does not set ``has_fixed_point``.

        Args:
            scale: difference of two neighbouring int8 values of the network's input.
            zero_point: the int8 value that stands for 0.
        """
        own = vars(type(self)).get("has_fixed_point", False)
        return fixed_mel_tables(self, scale, zero_point) if own else None

    def use_fixed_point(self) -> bool:
        """Compute features in fixed point from now on; return False if :meth:`fixed` has no tables."""
        if self.fixed() is None:
            return False
        self.arithmetic = FIXED_POINT
        return True

    def fixed_features(self, waves: Tensor) -> Tensor:
        """Return features that are computed in fixed point, [N, samples] -> [N, 1, frames, features].

        This is the reference, which takes twenty times as long as the C kernel. Waves in float are rounded to int16.
        """
        tables = self.fixed()
        assert tables is not None  # use_fixed_point has looked
        frames = to_int16(waves).unfold(-1, self.frame, self.stride)
        values = tables.features_of(frames.reshape(-1, self.frame).cpu().numpy())
        features = torch.from_numpy(values).to(waves.device) * FEATURE_SCALE
        return features.view(len(waves), 1, -1, self.features)

    def frame_call(self) -> FrameCall | None:
        """Return the call of the fixed-point kernel; None if it does not compute this front end."""
        tables = self.fixed()
        return None if tables is None else tables.call()

    def frame_count(self, hop: int | None = None) -> int:
        """Return the number of frames of a window, or of fresh frames of a hop of ``hop`` samples."""
        return self.output_shape[1] if hop is None else self.hop_frames(hop).fresh

    @torch.no_grad()
    def fit(self, inputs: Tensor) -> Self:
        """Set mean and standard deviation of every feature from training data [N, samples].

        Raises:
            UserError: the data are no sound, or have another length.
        """
        self.check_inputs(inputs)  # the arguments determine input_shape, so it does not change here
        spectra = (self.spectrum(chunk.to(self.mean.device)) for chunk in inputs.split(CHUNK_SAMPLES))
        self.set_statistics(*mean_and_std(spectra, (0, 1)))
        return self

    def feature_steps(self) -> list[Step]:
        """Return the steps of a log-mel spectrogram as data; see :mod:`gatesearch.frontends.feature_steps`."""
        values = self.arguments
        mel = {
            "operation": "mel",
            "hertz_per_bin": values["sample_rate"] / self.fft,
            "mel_factor": MEL_FACTOR,
            "mel_hertz": MEL_HERTZ,
            "edges": mel_edges(values["mel_bins"], values["low_hz"], values["high_hz"]).tolist(),
        }
        return [
            SCALE,
            {"operation": "frames", "length": self.frame, "stride": self.stride},
            {"operation": "window", "shape": "periodic_hann"},
            {"operation": "spectrum", "points": self.fft, "value": "magnitude"},
            mel,
            {"operation": "log", "base": "e", "offset": LOG_OFFSET},
            {"operation": "normalise", "axis": -1},
            GRID,
        ]

    def frame_macs(self) -> dict[str, int]:
        """Return the multiply-accumulates of one frame, by step.

        A real FFT of n points is computed as a complex FFT of n/2 points, which has n/4 log2(n/2) butterflies with one
        complex product each. Then n/2 more complex products separate the spectra of even and odd samples. A complex
        product takes four multiply-accumulates. A magnitude takes two for every bin up to ``high_hz``. The mel filters
        take one for every entry of their matrix above zero. Square roots and logarithms do not count.
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
        """Return the multiply-accumulates of one clip: :meth:`frame_macs` times the number of frames."""
        return sum(self.frame_macs().values()) * self.output_shape[1]
