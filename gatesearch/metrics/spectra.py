"""The distance between a reconstructed waveform and the original, in samples and in spectra."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

WINDOW_SAMPLES = (64, 256, 1024)  # lengths of a frame; the next frame starts a quarter of a frame later
MAGNITUDE_FLOOR = 0.05  # f; magnitudes below it hardly count; white noise of unit power has magnitude 1
SMALLEST_POWER = 1e-8  # added before the square root, whose slope is infinite at zero


def waveform_errors(outputs: Tensor, originals: Tensor, windows: Sequence[int] = WINDOW_SAMPLES) -> Tensor:
    """Return the distance of each waveform from its original, [N].

    The distance is a sum of two terms, for an output x and its original y. The first is the mean over samples of
    |x - y|, which depends on the phase; magnitudes do not. The second is the multi-scale spectral loss of SoundStream
    (Zeghidour et al. 2021, section III-E, after Gritsenko et al. 2020). It is the mean of
    |log(1 + X / f) - log(1 + Y / f)| over the magnitudes X and Y of short-time spectra, averaged over frame lengths.
    Short frames resolve time, and long frames resolve pitch. The paper uses log X, which is unbounded for silence; the
    floor f bounds the logarithm.

    Args:
        outputs: reconstructed waveforms, [N, ...], of at least :func:`shortest_waveform` samples each.
        originals: original waveforms, of the same shape.
        windows: lengths of frames in samples.

    >>> silence = torch.zeros(2, 4096)
    >>> waveform_errors(silence, silence).tolist()
    [0.0, 0.0]
    """
    outputs, originals = outputs.flatten(1), originals.flatten(1)
    if outputs.shape != originals.shape:  # PyTorch would broadcast one of them
        raise ValueError(f"outputs are {list(outputs.shape)}, originals {list(originals.shape)}; wanted: one shape")
    spectral = [(_log_spectrum(outputs, size) - _log_spectrum(originals, size)).abs().mean((1, 2)) for size in windows]
    return (outputs - originals).abs().mean(1) + torch.stack(spectral).mean(0)


def shortest_waveform() -> int:
    """Return the least number of samples of a waveform: the transform mirrors half a frame at each end."""
    return max(WINDOW_SAMPLES) // 2 + 1


def _log_spectrum(waves: Tensor, size: int) -> Tensor:
    """Return log(1 + X / f) of waves [N, samples], for frames of ``size`` samples, [N, bins, frames]."""
    window = torch.hann_window(size, device=waves.device)
    spectrum = torch.stft(waves, size, size // 4, window=window, return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square() + SMALLEST_POWER
    # The division by the root of the window's energy gives white noise the same magnitude at every frame length.
    magnitude = power.sqrt() / window.square().sum().sqrt()
    return torch.log1p(magnitude / MAGNITUDE_FLOOR)
