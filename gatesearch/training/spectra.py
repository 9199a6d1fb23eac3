"""How far a reconstructed waveform is from the original: in its samples and in its spectra."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

WINDOWS = (64, 256, 1024)  # samples of a frame; a quarter from frame to frame
FLOOR = 0.05  # of a magnitude, white noise of unit power having 1: what lies below hardly counts


def waveform_errors(found: Tensor, wanted: Tensor, windows: Sequence[int] = WINDOWS) -> Tensor:
    """Return the distance of each waveform from the one it should be, [N].

    The mean over samples of |x - y|, plus, as a mean over frame lengths, the mean of |log(1 + X / f) - log(1 + Y / f)|
    over the magnitudes X, Y of short-time spectra: the multi-scale spectral loss of SoundStream's section III-E (after
    Gritsenko et al. 2020), bounded for silence.

    Args:
        found, wanted: [N, ...], as many samples each; see :func:`shortest`.
        windows: lengths of frames.

    >>> silence = torch.zeros(2, 4096)
    >>> waveform_errors(silence, silence).tolist()
    [0.0, 0.0]
    """
    found, wanted = found.flatten(1), wanted.flatten(1)
    spectral = [(_loudness(found, size) - _loudness(wanted, size)).abs().mean((1, 2)) for size in windows]
    return (found - wanted).abs().mean(1) + torch.stack(spectral).mean(0)


def shortest() -> int:
    """Return the fewest samples of a waveform: a frame is mirrored at the ends."""
    return max(WINDOWS) // 2 + 1


def _loudness(waves: Tensor, size: int) -> Tensor:
    window = torch.hann_window(size, device=waves.device)
    spectrum = torch.stft(waves, size, size // 4, window=window, return_complex=True)
    # The root's slope has no end at zero.
    magnitude = (spectrum.real.square() + spectrum.imag.square() + 1e-8).sqrt() / window.square().sum().sqrt()
    return torch.log1p(magnitude / FLOOR)
