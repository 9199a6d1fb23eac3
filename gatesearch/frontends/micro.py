"""The front end ``micro``: TensorFlow's microfrontend, as microWakeWord uses it.

It computes mel channels with noise reduction and gain control (PCAN, Wang et al. 2017) in integers. The estimate of the
noise goes on from frame to frame, so a frame depends on the whole stream before it. Frames are those of the package
pymicro-features 2.0.2, bit for bit.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from gatesearch._lib.tensors import to_int16
from gatesearch.errors import UserError
from gatesearch.frontends.base import FIXED_POINT, Frontend, count_hop_frames
from gatesearch.frontends.grid import FEATURE_RANGE, FEATURE_SCALE, INT8_MAX, INT8_MIN
from gatesearch.frontends.micro_channels import channel_magnitudes, control_gain, reduce_noise, scaled_logarithm
from gatesearch.frontends.micro_spectrum import Array
from gatesearch.frontends.micro_tables import CHANNELS, FRAME, POINTS, SAMPLE_RATE, mel_filters
from gatesearch.graph.hops.frames import Frames

STRIDES_MS = (10.0, 20.0)
LARGEST = 666  # TFLite Micro's example micro_speech maps values from 0 to 666 to int8
CHUNK_FRAMES = 1024  # number of frames that are computed at once


class Micro(Frontend):
    """Computes the channels of TensorFlow's microfrontend, [N, samples] to [N, 1, frames, mel_bins].

    A frame has 30 ms. Noise reduction and gain control begin without an estimate of the noise at the first sample of
    each row, and carry the estimate from frame to frame. So the features of a stream are those of one long row; a
    window cut from it has other features by itself. Values are mapped to int8 as in TFLite Micro's example
    micro_speech, without statistics of the training split.

    Args:
        sample_rate: samples per second; 16000.
        seconds: length of a clip, or of a window of a stream, in seconds.
        stride_ms: time from one frame to the next in milliseconds, 10 or 20.
        mel_bins: number of channels.

    Raises:
        UserError: an argument is not valid.

    >>> Micro()(torch.zeros(2, 16000, dtype=torch.int16)).shape
    torch.Size([2, 1, 98, 40])
    """

    name = "micro"
    expects = "sound, [samples] each"
    dimensions = 1
    recursive = True
    gives_spectrum = True

    def __init__(
        self,
        sample_rate: int = SAMPLE_RATE,
        seconds: float = 1.0,
        stride_ms: float = 10.0,
        mel_bins: int = CHANNELS,
    ) -> None:
        super().__init__()
        self.arithmetic = FIXED_POINT
        self.arguments |= {
            "sample_rate": sample_rate,
            "seconds": seconds,
            "stride_ms": stride_ms,
            "mel_bins": mel_bins,
        }
        samples = round(sample_rate * seconds)
        self._check(sample_rate == SAMPLE_RATE, "sample_rate", f"{SAMPLE_RATE}")
        self._check(stride_ms in STRIDES_MS, "stride_ms", "10 or 20")
        self._check(samples >= FRAME, "seconds", "one frame (0.03 s) or more")
        self._check(0 < mel_bins <= POINTS // 2, "mel_bins", f"1 to {POINTS // 2}")
        self.stride = round(sample_rate * stride_ms / 1000)
        self.channels = mel_bins
        self.input_shape = (samples,)

    def _check(self, fits: bool, key: str, choices: str) -> None:
        if not fits:
            raise UserError(f"frontend.{key}: {self.arguments[key]!r} does not fit {self.name}; wanted: {choices}")

    def check_inputs(self, inputs: Tensor) -> None:
        """Check that the data are clips of the length that the arguments give.

        Raises:
            UserError: the data are no sound, or have another length.
        """
        super().check_inputs(inputs)
        if inputs.shape[1] != self.input_shape[0]:
            raise UserError(
                f"frontend.seconds: {self.arguments['seconds']!r} is {self.input_shape[0]} samples; the data has clips "
                f"of {inputs.shape[1]}"
            )

    def use_fixed_point(self) -> bool:
        """Return True: this front end has no other arithmetic."""
        return True

    def in_float(self) -> Micro:
        """Return the front end itself: it has no form in float."""
        return self

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """Shape of one window's features (1, frames, channels)."""
        return (1, 1 + (self.input_shape[0] - FRAME) // self.stride, self.channels)

    @property
    def output_range(self) -> tuple[float, float]:
        """Smallest and largest feature."""
        return FEATURE_RANGE

    def forward(self, waves: Tensor) -> Tensor:
        """Return the features of rows of any length, [N, samples] -> [N, 1, frames, channels]."""
        return self._read(waves, np.zeros((len(waves), self.channels), np.int64))[0]

    def hop_frames(self, hop: int) -> Frames:
        """Return the time axis of the features for a hop of ``hop`` samples.

        Raises:
            UserError: the hop is no multiple of the stride.
        """
        return Frames(axis=2, count=self.output_shape[1], hop=count_hop_frames(hop, self.stride))

    def hop_state(self, window: Tensor) -> Tensor:
        """Return the state after the first window [N, samples] of a stream, int64 [N, tail + channels].

        It holds the samples from which the next frame begins, and the estimate of the noise.
        """
        _, estimates = self._read(window, np.zeros((len(window), self.channels), np.int64))
        tail = to_int16(window)[:, self.output_shape[1] * self.stride :]
        return torch.cat([tail.long(), torch.from_numpy(estimates)], 1)

    def step(self, samples: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of the frames that end in a hop, [N, 1, fresh frames, channels], and the next state."""
        frames = self.hop_frames(samples.shape[1])
        tail, estimates = state[:, : -self.channels], state[:, -self.channels :]
        both = torch.cat([tail.short(), to_int16(samples)], 1)
        features, after = self._read(both, estimates.numpy())
        rest = both[:, samples.shape[1] :].long()
        return features[:, :, -frames.fresh :], torch.cat([rest, torch.from_numpy(after)], 1)

    def _read(self, waves: Tensor, estimates: Array) -> tuple[Tensor, Array]:
        """Return the features of rows of samples, and the estimates of the noise after the last frame."""
        samples = to_int16(waves).cpu().numpy()
        frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME, axis=1)[:, :: self.stride]
        count = max(1, CHUNK_FRAMES // max(1, len(samples)))
        parts = [np.zeros((len(samples), 0, self.channels), np.int8)]
        for first in range(0, frames.shape[1], count):
            chunk = frames[:, first : first + count]
            magnitudes = channel_magnitudes(chunk.reshape(-1, FRAME), self.channels)
            signals, each = reduce_noise(magnitudes.reshape(*chunk.shape[:2], self.channels), estimates)
            estimates = each[:, -1]
            values = scaled_logarithm(control_gain(signals, each))
            values = (256 * values + LARGEST // 2) // LARGEST + INT8_MIN
            parts.append(values.clip(INT8_MIN, INT8_MAX).astype(np.int8))
        features = torch.from_numpy(np.concatenate(parts, 1)).to(waves.device) * FEATURE_SCALE
        return features.unsqueeze(1), estimates

    def frame_macs(self) -> dict[str, int]:
        """Return the multiply-accumulates of one frame, by step.

        The transform counts as in :meth:`gatesearch.frontends.LogMel.frame_macs`, with the divisions of each pass of
        Kiss FFT, which are products. Square roots, logarithms and shifts do not count.
        """
        half, weights = POINTS // 2, mel_filters(self.channels).weights
        passes = int(math.log(half, 4))
        return {
            "window": FRAME,
            "fft": passes * (half // 4 * 3 * 4 + 2 * half) + half * 4,
            "magnitude": 2 * int(weights.any(1).sum()),
            "mel": int(np.count_nonzero(weights)),
            "noise": 3 * self.channels,
            "gain": 4 * self.channels,
        }

    def macs(self) -> int:
        """Return the multiply-accumulates of one window."""
        return sum(self.frame_macs().values()) * self.output_shape[1]

    def hop_macs(self, hop: int) -> int:
        """Return the multiply-accumulates of a hop of ``hop`` samples; frames between two windows count too."""
        return sum(self.frame_macs().values()) * self.hop_frames(hop).hop
