"""Augmentation in batches: every sample draws its own values, nothing loops over samples.

All randomness is torch's global generator. In ``eval()`` the modules pass data on unchanged.
"""

from gatesearch.data.augment.image import ImageAugment
from gatesearch.data.augment.spectrogram import SpecAugment
from gatesearch.data.augment.wave import WaveAugment

__all__ = ["ImageAugment", "SpecAugment", "WaveAugment"]
