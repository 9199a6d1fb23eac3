"""How far a reconstructed waveform is from the original: in its samples and in its spectra."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

WINDOW_SAMPLES = (64, 256, 1024)  # lengths of a frame; frames are a quarter of that apart
MAGNITUDE_FLOOR = 0.05  # white noise of unit power has magnitude 1; what lies below the floor hardly counts
SMALLEST_POWER = 1e-8  # the slope of a square root has no bound at zero


def waveform_errors(outputs: Tensor, originals: Tensor, windows: Sequence[int] = WINDOW_SAMPLES) -> Tensor:
    """Return the distance of each waveform from its original, [N].

    The first term is the mean over samples of |x - y|. It fixes the phase, which spectra do not see. The second is the
    multi-scale spectral loss of SoundStream (Zeghidour et al. 2021, section III-E, after Gritsenko et al. 2020): the
    mean of |log(1 + X / f) - log(1 + Y / f)| over the magnitudes X, Y of short-time spectra, averaged over frame
    lengths. Short frames tell when, long ones at which pitch. The paper takes log X, which has no bound for silence;
    with the floor f it has one.

    Args:
        outputs, originals: [N, ...], equally many samples each, at least :func:`shortest_waveform`.
        windows: lengths of frames.

    >>> silence = torch.zeros(2, 4096)
    >>> waveform_errors(silence, silence).tolist()
    [0.0, 0.0]
    """
    outputs, originals = outputs.flatten(1), originals.flatten(1)
    if outputs.shape != originals.shape:  # they would be broadcast
        raise ValueError(f"outputs are {list(outputs.shape)}, originals {list(originals.shape)}; wanted: one shape")
    spectral = [(_log_spectrum(outputs, size) - _log_spectrum(originals, size)).abs().mean((1, 2)) for size in windows]
    return (outputs - originals).abs().mean(1) + torch.stack(spectral).mean(0)


def shortest_waveform() -> int:
    """Return the fewest samples of a waveform: half a frame is mirrored at each end."""
    return max(WINDOW_SAMPLES) // 2 + 1


def _log_spectrum(waves: Tensor, size: int) -> Tensor:
    """Return log(1 + X / f) of waves [N, samples], for frames of that size, [N, bins, frames]."""
    window = torch.hann_window(size, device=waves.device)
    spectrum = torch.stft(waves, size, size // 4, window=window, return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square() + SMALLEST_POWER
    # Divided by the window's energy, so that white noise has one magnitude at every frame length.
    magnitude = power.sqrt() / window.square().sum().sqrt()
    return torch.log1p(magnitude / MAGNITUDE_FLOOR)
