"""Augments spectrograms: stretches the frequency axis, and masks time and frequency (SpecAugment)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatesearch.data.augment.arguments import check_not_negative
from gatesearch.errors import UserError


class SpecAugment(nn.Module):
    """Stretches features [N, 1, T, F] along frequency, and masks stretches of time and of frequency with zeros.

    The masks are those of Park et al. 2019 (SpecAugment, section 2), without time warping. The features are already
    normalised, so zero is their mean. The stretch follows Jaitly and Hinton 2013 (vocal tract length perturbation):
    speakers differ in the length of the vocal tract, which scales the frequencies of a voice. So a stretched word is
    the word of another speaker.

    Args:
        time_masks: number of masked stretches of time in every clip.
        time_width: largest width of a stretch of time, in frames; widths are uniform from 0.
        freq_masks: number of masked stretches of frequency in every clip.
        freq_width: largest width of a stretch of frequency, in features; widths are uniform from 0.
        freq_stretch: largest change of the frequency axis, as a share of its length, towards either end.

    Raises:
        UserError: a number is negative, or a stretch is 1 or larger.

    >>> masked = SpecAugment(time_masks=2, time_width=6)(torch.ones(5, 1, 49, 10))
    >>> masked.shape, bool((masked.mean((1, 2, 3)) >= (49 - 12) / 49 - 1e-6).all())
    (torch.Size([5, 1, 49, 10]), True)
    """

    def __init__(
        self,
        time_masks: int = 0,
        time_width: int = 0,
        freq_masks: int = 0,
        freq_width: int = 0,
        freq_stretch: float = 0.0,
    ) -> None:
        super().__init__()
        check_not_negative(time_masks=time_masks, time_width=time_width, freq_masks=freq_masks, freq_width=freq_width)
        if not 0 <= freq_stretch < 1:
            raise UserError(f"augment.freq_stretch: {freq_stretch}; wanted: 0 or more, and less than 1")
        self.freq_stretch = freq_stretch
        self.time_masks, self.time_width = time_masks, time_width
        self.freq_masks, self.freq_width = freq_masks, freq_width

    def forward(self, features: Tensor) -> Tensor:
        """Return stretched and masked features, [N, 1, T, F] -> [N, 1, T, F]."""
        if not self.training:
            return features
        if self.freq_stretch:
            features = _stretch(features, self.freq_stretch)
        count, _, frames, bins = features.shape
        time = _draw_mask(count, frames, self.time_masks, self.time_width, features)
        frequency = _draw_mask(count, bins, self.freq_masks, self.freq_width, features)
        return features * time[:, None, :, None] * frequency[:, None, None, :]


def _stretch(features: Tensor, largest: float) -> Tensor:
    """Return features whose bin f holds the value at f (1 + a), with a random a for each sample; the last bin repeats.

    Values between bins are interpolated.
    """
    count, _, frames, bins = features.shape
    factors = 1 + largest * (2 * torch.rand(count, 1, device=features.device) - 1)
    places = (torch.arange(bins, device=features.device) * factors).clamp(max=bins - 1)
    below = places.long()
    share = (places - below)[:, None, None, :]
    low, high = (
        features.gather(3, index[:, None, None, :].expand(count, 1, frames, bins))
        for index in (below, (below + 1).clamp(max=bins - 1))
    )
    return low + share * (high - low)


def _draw_mask(count: int, length: int, masks: int, width: int, like: Tensor) -> Tensor:
    """Return factors [count, length]: 0 within any of ``masks`` random stretches, 1 elsewhere."""
    widths = torch.randint(min(width, length) + 1, (count, masks, 1), device=like.device)
    starts = (torch.rand(count, masks, 1, device=like.device) * (length - widths + 1)).long()
    positions = torch.arange(length, device=like.device)
    masked = (positions >= starts) & (positions < starts + widths)
    return ~masked.any(1) * like.new_ones(())
