"""Augments spectrograms: masks over time and frequency (SpecAugment)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatesearch.data.augment.arguments import check_not_negative


class SpecAugment(nn.Module):
    """Masks stretches of time and of frequency in features [N, 1, T, F] with zeros.

    The method is that of Park et al. 2019 (SpecAugment, section 2), without time warping. The features are already
    normalised, so zero is their mean.

    Args:
        time_masks: number of masked stretches of time in every clip.
        time_width: largest width of a stretch of time, in frames; widths are uniform from 0.
        freq_masks: number of masked stretches of frequency in every clip.
        freq_width: largest width of a stretch of frequency, in features; widths are uniform from 0.

    Raises:
        UserError: a number is negative.

    >>> masked = SpecAugment(time_masks=2, time_width=6)(torch.ones(5, 1, 49, 10))
    >>> masked.shape, bool((masked.mean((1, 2, 3)) >= (49 - 12) / 49 - 1e-6).all())
    (torch.Size([5, 1, 49, 10]), True)
    """

    def __init__(self, time_masks: int = 0, time_width: int = 0, freq_masks: int = 0, freq_width: int = 0) -> None:
        super().__init__()
        check_not_negative(time_masks=time_masks, time_width=time_width, freq_masks=freq_masks, freq_width=freq_width)
        self.time_masks, self.time_width = time_masks, time_width
        self.freq_masks, self.freq_width = freq_masks, freq_width

    def forward(self, features: Tensor) -> Tensor:
        """Return masked features, [N, 1, T, F] -> [N, 1, T, F]."""
        if not self.training:
            return features
        count, _, frames, bins = features.shape
        time = _draw_mask(count, frames, self.time_masks, self.time_width, features)
        frequency = _draw_mask(count, bins, self.freq_masks, self.freq_width, features)
        return features * time[:, None, :, None] * frequency[:, None, None, :]


def _draw_mask(count: int, length: int, masks: int, width: int, like: Tensor) -> Tensor:
    """Return factors [count, length]: 0 within any of ``masks`` random stretches, 1 elsewhere."""
    widths = torch.randint(min(width, length) + 1, (count, masks, 1), device=like.device)
    starts = (torch.rand(count, masks, 1, device=like.device) * (length - widths + 1)).long()
    positions = torch.arange(length, device=like.device)
    masked = (positions >= starts) & (positions < starts + widths)
    return ~masked.any(1) * like.new_ones(())
